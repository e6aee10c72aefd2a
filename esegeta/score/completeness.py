"""Completeness: does the map add up to a change of the target?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from esegeta.explain import Attribution, Baseline, Explainer, baselines_of, parse_baseline
from esegeta.score.removal.removal_order import is_still
from esegeta.score.score import Judgement, Metric, Score, ScoreContext


@dataclass(frozen=True)
class Completeness(Score):
    """How far the map's sum is from the change of the target that it should add up to.

        completeness = | sum a - (R(x) - R(b)) | / | R(x) - R(b) |

    0 or more, lower is better; 1 for a map whose sum says nothing. Methods that claim to be
    complete are checked against their own baseline, or, if that is not one image, against what they
    report; all others against b. It is undefined for slopes, which do not add up to anything.

    Args:
        baseline: for methods without a claim: zero, mean, minimum, blur, or an image file.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017, proposition 1.
    """

    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "completeness"
    family: ClassVar[str] = "faithfulness"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("completeness", "lower"),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the gap as a fraction of the change."""
        claimed, own = attribution.facts.completeness_relative, reference_of(context.explainer)
        if claimed is not None and math.isfinite(claimed) and own is None:
            return Judgement({"completeness": abs(claimed)})
        if not attribution.meaning.is_in_target_unit:
            unit, wanted = attribution.unit, attribution.target.unit
            what = f"in {unit}, not in {wanted}"
            if unit == wanted:  # such as a unit's activation
                what = f"a map of {unit} by itself"
            return self.undefined(
                f"the map is {what}: it does not add up to a change of the target"
            )
        objective = context.objective(attribution)
        baseline = own or parse_baseline(self.baseline)
        start = context.cache.once("value", objective.value)
        end = context.cache.once(
            ("value", baseline),
            lambda: objective.at(baseline.of(attribution.volume)).value(),
        )
        if is_still(start, end):
            return self.undefined("the target is the same on the image and on the baseline")
        total = float(attribution.density().double().sum())
        return Judgement({"completeness": abs(total - (start - end)) / abs(start - end)})


def reference_of(explainer: Explainer) -> Baseline | None:
    """Return the one baseline that a complete method measures its change from, if it has one."""
    found = [baseline for *_, baseline in baselines_of(explainer)]
    return found[0] if explainer.traits.complete and len(found) == 1 else None
