"""Class sensitivity: does the map of this label differ from those of the other labels?"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Logits
from esegeta.errors import ConfigError
from esegeta.explain import Attribution
from esegeta.predict import mean_over
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext
from esegeta.score.similarity import (
    MapSimilarity,
    Measure,
    compare_maps,
    cosine_similarity,
    known,
    left_out,
    rank_similarity,
)
from esegeta.targets import FrozenTarget

MEASURES: dict[str, Measure] = {"spearman": rank_similarity, "cosine": cosine_similarity}
"""How similar the map is to that of another label."""

SUFFIXES = {"spearman": "", "cosine": "_cosine"}
"""Suffixes of the figures' names."""


@dataclass(frozen=True)
class ClassSensitivity(Score):
    """How similar the map is to the maps of other labels over the same voxels.

        mean_j and max_j of s(a_k, a_j),   s: Spearman correlation and cosine of signed maps

    a_j is the map of the same target for label j instead of k; the mask stays that of k. -1..1:
    1 if the map is the same for every label, below 0 if evidence for one label is evidence
    against the others. Each other label costs an explanation. The background counts only if
    `labels` names it. NaN for targets that are not about one label, or if there is no other label.

    Args:
        max_labels: largest number of other labels to use: those with the highest mean logit over
            the mask.

    Source: the random logit test of Sixt et al., When Explanations Lie: Why Many Modified BP
    Attributions Fail, 2020; there the SSIM with the map of one random label.
    """

    max_labels: int = 4

    name: ClassVar[str] = "class_sensitivity"
    family: ClassVar[str] = "sanity"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("class_sensitivity", "lower", low=-1.0, high=1.0),
        Metric("class_sensitivity_max", "lower", low=-1.0, high=1.0),
        Metric("class_sensitivity_cosine", "lower", low=-1.0, high=1.0),
        Metric("class_sensitivity_cosine_max", "lower", low=-1.0, high=1.0),
    )

    def __post_init__(self) -> None:
        if self.max_labels < 1:
            raise ConfigError(f"{self.name}: max_labels: {self.max_labels} must be at least 1")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return mean and greatest similarities, and the curve over the other labels."""
        target = attribution.target
        if target.label is None or target.relabelled is None:
            return self.undefined("the target is not about one label")
        rivals = rivals_of(target, self.max_labels)
        if not rivals:
            return self.undefined("there is no other label")
        relabelled, volume = target.relabelled, attribution.volume

        def explain(label: str) -> Attribution:
            return context.explainer.explain(context.predictor, volume, relabelled(label))

        comparisons = [
            compare_maps(attribution, label, partial(explain, label), measures=MEASURES)
            for label in rivals
        ]
        return self._summary(comparisons)

    def _summary(self, comparisons: list[MapSimilarity]) -> Judgement:
        values: dict[str, float] = {}
        reasons: dict[str, str] = {}
        curves = []
        ticks = tuple(comparison.other for comparison in comparisons)
        x = tuple(float(place) for place in range(len(ticks)))
        for measure, suffix in SUFFIXES.items():
            found = known(comparisons, measure)
            names = (f"{self.name}{suffix}", f"{self.name}{suffix}_max")
            values[names[0]] = statistics.fmean(found) if found else math.nan
            values[names[1]] = max(found, default=math.nan)
            missing = left_out(comparisons, measure)
            reasons |= dict.fromkeys(names, missing) if missing else {}
            y = tuple(comparison.similarities[measure] for comparison in comparisons)
            curves.append(Curve(f"labels_{measure}", "other label", measure, x, y, ticks))
        return Judgement(values, reasons, tuple(curves))


def rivals_of(target: FrozenTarget, count: int) -> list[str]:
    """Return the other labels with the highest mean logit over a target's mask, highest first."""
    labels = target.scene.labels
    assert target.label is not None
    own = labels.name(target.label)
    others = [name for name in labels.named if name != own]

    def own_logits(logits: Logits) -> Tensor:
        return torch.stack([labels.logit_of(logits, name)[0] for name in others])

    if len(others) > count:
        found = mean_over(target.scene.prediction, target.mask, own_logits)
        means = dict(zip(others, found.tolist(), strict=True))
        others = sorted(others, key=lambda name: -means[name])[:count]
    return others
