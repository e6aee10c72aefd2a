"""Complexity: on how few inputs does a map rest?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.explain import Attribution
from esegeta.score.score import Judgement, Quality, Score, ScoreContext


@dataclass(frozen=True)
class Gini(Score):
    """How unequal the map's magnitudes are: 0 where all are equal, near 1 where few hold all.

        gini = 1 - 2 sum_k v_(k) / |v|_1 * (N - k + 1/2) / N,   v = |a|, v_(1) <= ... <= v_(N)

    Higher is sparser. v are the magnitudes of all N inputs, voxels times channels: maps without
    channels are split evenly among them, a feature's worth evenly among its voxels.

    Source: Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training,
    2020, after Hurley and Rickard, Comparing Measures of Sparsity, 2009.
    """

    name: ClassVar[str] = "gini"
    family: ClassVar[str] = "complexity"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("gini", "higher", high=1.0),)

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

    Lower is simpler: 0 where one input holds all, log N where all N hold the same. The relative
    one, 0 to 1, may be compared between images of other sizes. Inputs are voxels times channels,
    as those of `gini`.

    Source: Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, 2020,
    complexity; there it is not divided by log N.
    """

    name: ClassVar[str] = "entropy"
    family: ClassVar[str] = "complexity"
    qualities: ClassVar[tuple[Quality, ...]] = (
        Quality("entropy", "lower"),
        Quality("entropy_relative", "lower", high=1.0),
    )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the entropy, and the same as a part of the largest that there can be."""
        magnitudes = _magnitudes(attribution)
        nats = max(0.0, float(torch.special.entr(magnitudes / magnitudes.sum()).sum()))
        most = math.log(magnitudes.numel())
        if most == 0:
            values = {"entropy": nats, "entropy_relative": math.nan}
            return Judgement(values, {"entropy_relative": "the image has a single input"})
        return Judgement({"entropy": nats, "entropy_relative": min(1.0, nats / most)})


def _magnitudes(attribution: Attribution) -> Float[Tensor, " N"]:
    """Return the magnitude of each input's share, float64."""
    return attribution.density().double().abs().flatten()
