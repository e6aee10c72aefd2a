"""Effective complexity: how few parts of the image are enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from esegeta.errors import ConfigError
from esegeta.explain import Attribution, Features, RankBy
from esegeta.score.deletion import STILL
from esegeta.score.removal.over_parts import OverParts, is_still
from esegeta.score.removal.replacement import Replacement
from esegeta.score.score import Curve, Judgement, Quality, ScoreContext


@dataclass(frozen=True)
class EffectiveComplexity(OverParts):
    """The smallest share of the image that keeps the target, the map's largest parts first.

        effective_complexity = min { s : |R(b_t) - R(x)| <= tol |R(x) - R(b)| for all t >= s }

    b_s is the baseline with the image's share s, of the largest magnitude first. 0..1, lower is
    better: a reader has less to look at. 1 says that everything is needed.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what they are put into: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: of the search.
        rank_by: `value` or `magnitude` of the map.
        seed: of the order among equals.
        tolerance: of the target, as a fraction of its change, above 0 and below 1.

    Source: Nguyen and Martinez, On Quantitative Aspects of Model Interpretability, 2020, section
    3.2 (effective complexity), with the target in place of the expected loss.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    steps: int = 20
    rank_by: RankBy = "magnitude"
    seed: int = 0
    tolerance: float = 0.1

    name: ClassVar[str] = "effective_complexity"
    family: ClassVar[str] = "complexity"
    qualities: ClassVar[tuple[Quality, ...]] = (
        Quality("effective_complexity", "lower", low=0.0, high=1.0),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tolerance < 1:
            raise ConfigError(
                f"effective_complexity: tolerance: {self.tolerance:g} is not between 0 and 1"
            )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the smallest share from which on the target stays."""
        ladder = self.ladder(attribution, context)
        rows = ladder.with_first()
        values = ladder.removals.values(rows)
        start, end = float(values[-1]), float(values[0])
        if is_still(start, end):
            return self.undefined(STILL)
        heights = (values - end) / (start - end)
        share = 1 - ladder.share_removed(rows)
        away = ((heights - 1).abs() > self.tolerance).nonzero().flatten()
        enough = int(away[-1]) + 1
        curve = Curve(
            "largest first",
            "share of the image kept",
            "target (1 = image, 0 = baseline)",
            tuple(share.tolist()),
            tuple(heights.tolist()),
        )
        return Judgement({"effective_complexity": float(share[enough])}, curves=(curve,))
