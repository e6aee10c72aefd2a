"""Does the map add up, as a whole and over parts, to the change of the target?"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import (
    Attribution,
    Baseline,
    Explainer,
    Features,
    baselines_of,
    parse_baseline,
    parse_features,
)
from esegeta.score.removal.removal_order import RESOLUTION, is_still, removals_of
from esegeta.score.removal.replacement import Replacement, parse_replacement
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext

LARGEST_SHARE = 0.8


@dataclass(frozen=True)
class Completeness(Score):
    """How far the map's sum is from the change of the target that it should add up to.

        completeness = | sum a - (R(x) - R(b)) | / | R(x) - R(b) |

    0 or more, lower is better; 1 for a map whose sum is zero. Methods that claim to be complete
    are checked against their own baseline or, if that is not a single image, against the change
    that they report; all others against b. Undefined for slopes, whose sum has no meaning.

    Args:
        baseline: for methods without a claim: zero, mean, minimum, blur, or an image file.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017, proposition 1.
    """

    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "completeness"
    family: ClassVar[str] = "faithfulness"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("completeness", "lower", scale_free=False),)

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


@dataclass(frozen=True)
class SensitivityN(Score):
    """Correlation between the map's sum over random sets of n parts and their removal's effect.

        sensitivity_n = mean over n of  corr ( sum_{i in S} a_i ,  R(x) - R(x without S) ),  |S| = n

    -1..1, higher is better; 1 at every n is possible only if the target is a sum over parts. n goes
    from one part to 80 % of the parts in about equal ratios. A size is left out if all its sets
    have the same effect, or the same sum.

    Args:
        features: the parts: supervoxels, blocks, a label map, or a block of keys.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        sizes: number of values of n.
        samples: random sets of each size, at least 3.
        seed: random seed for the sets.

    Source: Ancona et al., Towards Better Understanding of Gradient-based Attribution Methods,
    2018, definition 1; here over parts, since single voxels of a volume change nothing.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    sizes: int = 8
    samples: int = 16
    seed: int = 0

    name: ClassVar[str] = "sensitivity_n"
    family: ClassVar[str] = "faithfulness"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("sensitivity_n", "higher", low=-1.0, high=1.0),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_replacement(self.baseline))
        if self.sizes < 1 or self.samples < 3:
            raise ConfigError("sensitivity_n: sizes must be at least 1 and samples at least 3")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean correlation, with the curve over sizes."""
        parts, how = parse_features(self.features), parse_replacement(self.baseline)
        # The sets are the same for all methods of a target, and so is what removing them does.
        removed = removals_of(attribution, context, features=parts, replacement=how)
        partition = removed.partition
        sizes = subset_sizes(len(partition), self.sizes)
        coalitions = random_coalitions(len(partition), sizes, self.samples, seed=self.seed)
        falls = context.cache.once(
            ("falls", parts, how, sizes, self.samples, self.seed),
            lambda: removed.start - removed.values(coalitions),
        )
        foreseen = removed.foreseen(coalitions, attribution)
        scale = abs(removed.start)
        found = [
            correlation(one, other, scale=scale)
            for one, other in zip(
                foreseen.reshape(len(sizes), -1), falls.reshape(len(sizes), -1), strict=True
            )
        ]
        known = [value for value in found if value == value]
        curve = Curve(
            "correlation", "parts removed, n", "correlation", tuple(map(float, sizes)), tuple(found)
        )
        if not known:
            reason = "at every size the map or the target is the same for all sets"
            return replace(self.undefined(reason), curves=(curve,))
        return Judgement({"sensitivity_n": sum(known) / len(known)}, curves=(curve,))


def subset_sizes(num_parts: int, count: int) -> tuple[int, ...]:
    """Return set sizes in about equal ratios, from one part to 80 % of the parts, each once."""
    largest = max(1, round(LARGEST_SHARE * num_parts))
    places = torch.linspace(0, 1, count, dtype=torch.float64) if count > 1 else torch.tensor([1.0])
    return tuple(dict.fromkeys(round(largest ** float(place)) for place in places))


def random_coalitions(
    num_parts: int, sizes: tuple[int, ...], samples: int, *, seed: int
) -> Bool[Tensor, "M N"]:
    """Return for each size random rows that lack that many parts; on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.ones((len(sizes) * samples, num_parts), dtype=torch.bool)
    for place, row in enumerate(rows):
        chosen = torch.randperm(num_parts, generator=generator)[: sizes[place // samples]]
        row[chosen] = False
    return rows


def correlation(
    one: Float64[Tensor, " M"], other: Float64[Tensor, " M"], *, scale: float = 0.0
) -> float:
    """Return Pearson's correlation; NaN where either is constant except for rounding."""
    a, b = one - one.mean(), other - other.mean()
    still = float(b.abs().max()) <= RESOLUTION * max(scale, float(other.abs().max()))
    if still or float(a.abs().max()) <= RESOLUTION * float(one.abs().max()):
        return float("nan")
    return float((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
