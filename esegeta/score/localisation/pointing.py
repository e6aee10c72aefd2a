"""The pointing game: does the map's maximum lie in the structure?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from esegeta.axes import Mask
from esegeta.errors import ConfigError
from esegeta.explain import Attribution
from esegeta.score.localisation.distance import TOUCHES_MM
from esegeta.score.localisation.localisation import Localisation
from esegeta.score.localisation.undefined import UndefinedError
from esegeta.score.score import Judgement, Quality, ScoreContext


@dataclass(frozen=True)
class PointingGame(Localisation):
    """Whether the voxel of the highest relevance lies in a structure, or near enough to it.

        pointing_game = 1 if d(argmax r, M) <= within_mm else 0,   r = max(a, 0)

    a is summed over channels. 1 is a hit, 0 a miss; the mean over cases is the accuracy. Where
    several voxels hold the maximum, the value is the share of them that hit.

    Args:
        against: M, `prediction`, `label` (ground truth) or `target` (the target's own mask).
        use: `positive` values, or `magnitude`, r = |a|.
        within_mm: tolerance, between voxels' centres.

    Source: Zhang et al., Top-Down Neural Attention by Excitation Backprop, IJCV 2018, the pointing
    game; there the tolerance is 15 pixels, and nothing is said of ties.
    """

    within_mm: float = 0.0

    name: ClassVar[str] = "pointing_game"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("pointing_game", "higher", high=1.0),)

    def __post_init__(self) -> None:
        if self.within_mm < 0:
            raise ConfigError(f"pointing_game: within_mm: {self.within_mm:g} is below zero")

    def place(self, attribution: Attribution, structure: Mask, context: ScoreContext) -> Judgement:
        """Return the share of the maxima that hit."""
        relevance = self.relevance(attribution.data)
        hits = structure
        if self.within_mm > 0:
            distance = self.distance_mm(attribution, structure, context)
            hits = distance <= self.within_mm + TOUCHES_MM
            if bool(hits.all()):
                raise UndefinedError(f"every voxel lies within {self.within_mm:g} mm")
        maxima = hits[relevance == relevance.max()]
        return Judgement({self.name: float(maxima.double().mean())})
