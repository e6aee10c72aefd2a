"""Networks with random weights in their layers."""

from __future__ import annotations

from torch import nn

from esegeta.score.sanity.weights import RandomWeights
from tests.builders import SHAPES, predictor, volume
from tests.oracles import frozen


def weights_of(network: nn.Module, ndim: int = 2, *, seed: int = 0) -> RandomWeights:
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    return RandomWeights(model, frozen(model, image), image, seed)


def names(weights: RandomWeights) -> list[str]:
    return [layer.name for layer in weights.layers]
