"""What all methods over features share: the features, the baseline, and the unit of their maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Explainer
from esegeta.explain.objective import Objective
from esegeta.explain.perturbation.features import Features, parse_features
from esegeta.explain.perturbation.game import Game


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

    def game(self, objective: Objective) -> Game:
        """Return the coalition game of an objective over this method's features."""
        volume = objective.volume
        partition = parse_features(self.features).of(volume)
        return Game(objective, partition, parse_baseline(self.baseline).of(volume))
