"""Methods over features: what they share, and ablation of one feature at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.features import Features, parse_features
from esegeta.explain.perturbation.masked_target import MaskedTarget


@dataclass(frozen=True)
class OverFeatures(Explainer):
    """Shared parameters of methods that replace features of the image.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.
    """

    features: Features | str = "supervoxels"
    baseline: Baseline | str = "mean"

    zero_hint: ClassVar[str] = (
        "no feature changes the target; is the image equal to its baseline, or does no feature "
        "lie in the windows of the target?"
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    def masked_target(self, objective: Objective) -> MaskedTarget:
        """Return the objective with this method's features."""
        volume = objective.volume
        partition = parse_features(self.features).of(volume)
        return MaskedTarget(objective, partition, parse_baseline(self.baseline).of(volume))


@dataclass(frozen=True)
class FeatureAblation(OverFeatures):
    """How much the target falls when a feature of the image is replaced by a baseline.

        a(v) = R(x) - R(x with the feature of v replaced)

    Positive: the feature raises the target. Each voxel holds the value of its whole feature, in
    the target's unit. Only windows that touch both feature and target are run again.

    Args:
        features: blocks, supervoxels, channels, a label map, or a block of keys.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, 2014,
    section 4.2, with features instead of squares, as captum's FeatureAblation.
    """

    name: ClassVar[str] = "feature_ablation"
    traits: ClassVar[Traits] = Traits("perturbation", additive=True, by_channel=False)
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost(self) -> Cost:
        """For each feature the active windows that it touches, forward."""
        return Cost.of(1, over="touched", per="feature")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        masked_target = self.masked_target(objective)
        all_but_one = ~torch.eye(len(masked_target.players), dtype=torch.bool)
        return masked_target.map(-masked_target.changes(masked_target.with_dummies(all_but_one)))
