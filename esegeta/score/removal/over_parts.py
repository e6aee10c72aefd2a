"""What all scores share that remove parts of the image in the order of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Attribution, Features, Objective, RankBy, parse_features
from esegeta.score.removal.ladder import VOXELS, Ladder, ladder
from esegeta.score.removal.replacement import Replacement, parse_replacement
from esegeta.score.score import Score, ScoreContext

RESOLUTION = 1e-6
"""Changes of a target below this fraction of it are rounding."""


@dataclass(frozen=True)
class OverParts(Score):
    """Shared parameters of scores that remove parts of the image.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: from the whole image to nothing.
        rank_by: `value` or `magnitude` of the map; `auto` is the magnitude of slopes by the input.
        seed: of the order among equals.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    steps: int = 20
    rank_by: RankBy = "auto"
    seed: int = 0

    family: ClassVar[str] = "faithfulness"

    def __post_init__(self) -> None:
        if self.features != VOXELS:
            object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_replacement(self.baseline))
        if self.steps < 2:
            raise ConfigError(f"{self.name}: steps: {self.steps}: give at least 2")

    def ladder(
        self, attribution: Attribution, context: ScoreContext, objective: Objective | None = None
    ) -> Ladder:
        """Return the parts in the order of the map, removed from its objective or from another."""
        return ladder(
            attribution,
            context,
            features=self.features,
            replacement=parse_replacement(self.baseline),
            steps=self.steps,
            rank_by=self.rank_by,
            seed=self.seed,
            objective=objective,
        )


def area(x: Float64[Tensor, " M"], y: Float64[Tensor, " M"]) -> float:
    """Return the area under a curve by trapezoids."""
    return float(torch.trapezoid(y, x))


def is_still(start: float, end: float) -> bool:
    """Tell whether a target does not move from start to end but for rounding."""
    return abs(start - end) <= RESOLUTION * max(abs(start), abs(end))
