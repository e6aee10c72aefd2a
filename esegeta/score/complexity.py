"""How few voxels or parts a map is made of: Gini, entropy, effective complexity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Attribution, Features, RankBy
from esegeta.score.removal.removal_order import OverParts, is_still
from esegeta.score.removal.replacement import Replacement
from esegeta.score.removal_curves import STILL
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext


@dataclass(frozen=True)
class Gini(Score):
    """How unequal the map's magnitudes are: 0 if all are equal, near 1 if few hold everything.

        gini = 1 - 2 sum_k v_(k) / |v|_1 * (N - k + 1/2) / N,   v = |a|, v_(1) <= ... <= v_(N)

    Higher is sparser. v are the magnitudes at all N inputs (voxels times channels): a map without
    channels is split evenly among them, a feature's value evenly among its voxels.

    Source: Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training,
    2020, after Hurley and Rickard, Comparing Measures of Sparsity, 2009.
    """

    name: ClassVar[str] = "gini"
    family: ClassVar[str] = "complexity"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("gini", "higher", high=1.0),)

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the index."""
        magnitudes = _magnitudes(attribution).sort().values
        num = magnitudes.numel()
        above = torch.arange(num, 0, -1, device=magnitudes.device, dtype=torch.float64) - 0.5
        poor = float((magnitudes * above).sum() / magnitudes.sum()) / num
        return Judgement({self.name: min(1.0, max(0.0, 1 - 2 * poor))})


@dataclass(frozen=True)
class Entropy(Score):
    """The Shannon entropy of the map's magnitudes as shares of their sum, in nats.

        entropy = -sum_i p_i log p_i,   p = |a| / |a|_1;      entropy_relative = entropy / log N

    Lower is simpler: 0 if one input holds everything, log N if all N hold the same.
    `entropy_relative`, 0 to 1, can be compared between images of different sizes. Inputs are
    voxels times channels, as for `gini`.

    Source: Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, 2020,
    complexity; there it is not divided by log N.
    """

    name: ClassVar[str] = "entropy"
    family: ClassVar[str] = "complexity"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("entropy", "lower"),
        Metric("entropy_relative", "lower", high=1.0),
    )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the entropy, also as a fraction of the largest possible."""
        magnitudes = _magnitudes(attribution)
        nats = max(0.0, float(torch.special.entr(magnitudes / magnitudes.sum()).sum()))
        most = math.log(magnitudes.numel())
        if most == 0:
            values = {"entropy": nats, "entropy_relative": math.nan}
            return Judgement(values, {"entropy_relative": "the image has a single input"})
        return Judgement({"entropy": nats, "entropy_relative": min(1.0, nats / most)})


def _magnitudes(attribution: Attribution) -> Float[Tensor, " N"]:
    """Return the magnitude of each input's share, float64; padding is not an input."""
    shares, inside = attribution.density().double().abs(), attribution.volume.inside
    return shares.flatten() if inside is None else shares[:, inside].flatten()


@dataclass(frozen=True)
class EffectiveComplexity(OverParts):
    """The smallest share of the image that keeps the target, the map's largest parts first.

        effective_complexity = min { s : |R(b_t) - R(x)| <= tol |R(x) - R(b)| for all t >= s }

    b_s is the baseline with the share s of the image put in, largest magnitudes first. 0..1, lower
    is better: a reader has less to look at. 1 means that everything is needed.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what they are put into: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: steps of the search.
        rank_by: `value` or `magnitude` of the map.
        seed: random seed for the order of ties.
        tolerance: how far the target may move, as a fraction of its change; between 0 and 1.

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
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("effective_complexity", "lower", low=0.0, high=1.0),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.tolerance < 1:
            raise ConfigError(
                f"effective_complexity: tolerance: {self.tolerance:g} is not between 0 and 1"
            )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the smallest share from which on the target stays."""
        removal_order = self.removal_order(attribution, context)
        rows = removal_order.with_first()
        values = removal_order.removals.values(rows)
        start, end = float(values[-1]), float(values[0])
        if is_still(start, end):
            return self.undefined(STILL)
        heights = (values - end) / (start - end)
        share = 1 - removal_order.share_removed(rows)
        away = ((heights - 1).abs() > self.tolerance).nonzero().flatten()
        enough = int(away[-1]) + 1
        curve = Curve(
            "largest first",
            "share of the image kept",
            "target (1 = image, 0 = baseline)",
            tuple(share.tolist()),
            tuple(heights.tolist()),
            over_shares=True,
        )
        return Judgement({"effective_complexity": float(share[enough])}, curves=(curve,))
