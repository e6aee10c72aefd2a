"""eMPRT: does the map lose its shape when the network forgets all that it learned?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.errors import ConfigError, EsegetaError
from esegeta.explain import Attribution
from esegeta.score.sanity.similarity import is_constant, reached
from esegeta.score.sanity.weights import RandomWeights
from esegeta.score.score import Judgement, Quality, Score, ScoreContext


@dataclass(frozen=True)
class EfficientMprt(Score):
    """How much more complex the map becomes when the whole network is random.

        (H(a_random) - H(a)) / H(a),   H = -sum_i p_i log p_i of the histogram of |a|

    -1 or more; above 0 where the map of the trained network has more structure than that of a
    random one, 0 where the weights play no part. Bins are equally wide from the least to the
    greatest |a| of a map; voxels that neither map reaches are left out.

    Args:
        bins: of the histogram.
        seed: of the random weights.

    Source: Hedström et al., Sanity Checks Revisited: An Exploration to Repair the Model Parameter
    Randomisation Test, 2024, section 4.2.
    """

    bins: int = 100
    seed: int = 0

    name: ClassVar[str] = "efficient_mprt"
    family: ClassVar[str] = "sanity"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("efficient_mprt", "higher", low=-1.0),)

    def __post_init__(self) -> None:
        if self.bins < 2:
            raise ConfigError(f"{self.name}: bins: {self.bins} is below 2")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the relative rise of the entropy."""
        target, volume = attribution.target, attribution.volume
        try:
            weights = RandomWeights(context.predictor, target, volume, self.seed)
            predictor = weights.predictor_with(weights.layers)
            random = context.explainer.unlearned().explain(predictor, volume, target)
        except EsegetaError as error:
            return self.undefined(f"the random network has no map: {error.message}")
        where = reached(attribution.data, random.data)
        before, after = (
            histogram_entropy(map_[:, where].flatten(), self.bins)
            for map_ in (attribution.data, random.data)
        )
        if before == 0:
            return self.undefined("the map has one magnitude alone: no entropy to rise from")
        return Judgement({self.name: (after - before) / before})


def histogram_entropy(values: Float[Tensor, " N"], bins: int) -> float:
    """Return the entropy in nats of the histogram of magnitudes; 0 where there is but one."""
    if is_constant(values.abs()):
        return 0.0
    counts = torch.histc(values.double().abs(), bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, -float((shares * shares.log()).sum()))
