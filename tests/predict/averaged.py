"""Slow rewrites of mirrored predictions and of ensembles: MONAI and plain torch, whole graphs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from esegeta.model import join_members
from esegeta.predict import Predictor, list_passes
from tests.oracles import monai_prediction


def averaging(
    networks: Sequence[nn.Module], model: Predictor, mirror: Sequence[int], average: str
) -> Predictor:
    """Return a predictor of several networks, mirrored, with the plan of another."""
    states = join_members(networks, [f"network {number}" for number in range(len(networks))])
    passes = list_passes(mirror, len(networks))
    plan = replace(model.plan, passes=passes, average=average)
    return replace(model, network=networks[0], plan=plan, states=states)


def mean_of(predictions: Sequence[Tensor], average: str, activation: str) -> Tensor:
    """Return the mean of logits; or the logits whose probabilities are the mean of theirs."""
    if len(predictions) == 1:
        return predictions[0]
    stacked = torch.stack(list(predictions))
    if average == "logits":
        return stacked.mean(dim=0)
    if activation == "softmax":
        return stacked.softmax(dim=2).mean(dim=0).log()
    mean = stacked.sigmoid().mean(dim=0)
    return mean.log() - (1 - mean).log()


class Mirrored(nn.Module):
    """A network whose output is the mean over mirrored inputs, mirrored back."""

    def __init__(
        self, network: nn.Module, mirror: Sequence[int], average: str, activation: str
    ) -> None:
        super().__init__()
        self.network = network
        self.subsets = [
            [axis + 2 for axis in subset]
            for count in range(len(mirror) + 1)
            for subset in itertools.combinations(mirror, count)
        ]
        self.average = average
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        outputs = [self.network(x.flip(axes)).flip(axes) for axes in self.subsets]
        return mean_of(outputs, self.average, self.activation)


def slow_average(
    networks: Sequence[nn.Module],
    model: Predictor,
    x: Tensor,
    mirror: Sequence[int],
    average: str,
) -> Tensor:
    """Return the prediction; differentiable by `x`."""
    activation = model.labels.activation
    predictions = [
        monai_prediction(replace(model, network=Mirrored(network, mirror, average, activation)), x)
        for network in networks
    ]
    return mean_of(predictions, average, activation)
