"""Feature ablation: how the target falls when one feature is left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.explain.explainer import RawMap, Traits
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.over_features import OverFeatures


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

    @property
    def cost(self) -> str:
        """For each feature the active windows that it touches, forward."""
        return "1 F for each feature, of the windows it touches"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        game = self.game(objective)
        all_but_one = ~torch.eye(len(game.players), dtype=torch.bool)
        return game.map(-game.changes(game.with_dummies(all_but_one)))
