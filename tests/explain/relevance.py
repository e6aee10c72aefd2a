"""Slow and independent: relevance rules with every weight of a linear operation written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.explain.backprop.carry import mark_last
from esegeta.explain.backprop.lrp import LrpRules
from esegeta.explain.backprop.relevance import Carrier
from esegeta.explain.backprop.rule_set import Rules
from esegeta.explain.backprop.rules import Settings, one_rule
from esegeta.model import held_still
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from tests.builders import convolution
from tests.oracles import monai_prediction


def spread_back(
    network: nn.Module,
    rules: Rules,
    x: Tensor,
    relevance: Tensor,
    carrier: type[Carrier] = Carrier,
) -> Tensor:
    """Return what reaches the input of a network when its output has some relevance."""
    inputs = x.clone().requires_grad_(True)
    with held_still(network), torch.enable_grad():
        with carrier(rules, inputs).intercept():
            output = network(inputs)
        (result,) = torch.autograd.grad(output, inputs, relevance)
    return result


class BiasFree(nn.Module):
    """ReLU, both poolings, a skip concatenation, a residual sum, a transposed convolution."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        conv = convolution(ndim)
        transposed = nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d
        self.pool = nn.MaxPool2d(2) if ndim == 2 else nn.MaxPool3d(2)
        self.mean = nn.AvgPool2d(2) if ndim == 2 else nn.AvgPool3d(2)
        self.enter = conv(2, 4, 3, padding=1, bias=False)
        self.down = conv(8, 6, 3, padding=1, bias=False)
        self.residual = conv(6, 6, 3, padding=1, bias=False)
        self.up = transposed(6, 4, 2, stride=2, bias=False)
        self.head = conv(8, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        high = self.relu(self.enter(x))
        low = F.relu(self.down(torch.cat([self.pool(high), self.mean(high)], dim=1)))
        low = torch.relu(low + self.residual(low))
        return self.head(torch.cat([high, self.up(low).relu()], dim=1))


def brute_force(
    model: Predictor,
    target: FrozenTarget,
    rules: Rules,
    start: Callable[[Tensor], Tensor] = lambda logits: logits,
) -> Tensor:
    """Return the map by one graph of the whole blend, which MONAI writes out.

    Relevance at a logit is what autograd gives it through `start`.
    """

    class Started(nn.Module):
        def forward(self, crops: Tensor) -> Tensor:
            with Carrier(rules, crops).intercept():
                logits = model.network(crops)
            mark_last(logits)
            return start(logits)

    x = target.scene.volume.batch.clone().requires_grad_(True)
    with held_still(model.network), torch.enable_grad():
        value = target.value(monai_prediction(replace(model, network=Started()), x)).sum()
        (found,) = torch.autograd.grad(value, x)
    return found[0]


def by_rule(network: nn.Module, rule: str, x: Tensor, relevance: Tensor, **numbers) -> Tensor:
    """Return the same under one LRP rule."""
    return spread_back(network, LrpRules(one_rule(rule), Settings(**numbers)), x, relevance)


class Forward(nn.Module):
    """A network that is nothing but a forward method, with one convolution to begin with."""

    def __init__(self, function: Callable[[Forward, Tensor], Tensor]) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 1, bias=False)
        self.second = nn.Conv2d(2, 2, 1, bias=False)
        nn.init.eye_(self.first.weight.data[..., 0, 0])
        nn.init.eye_(self.second.weight.data[..., 0, 0])
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def through(
    function: Callable[[Forward, Tensor], Tensor], x: Tensor, relevance: Tensor, **numbers: Any
) -> Tensor:
    """Return what reaches the input of a forward method under the epsilon rule."""
    return by_rule(Forward(function), "epsilon", x, relevance, **numbers)


def matrices(layer: nn.Module, x: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a layer's weights as `outputs x inputs`, which are connected, and biases."""

    def explicit(weight: Tensor) -> np.ndarray:
        kept = layer.weight.data
        layer.weight.data = weight
        with torch.no_grad():
            units = torch.eye(x[0].numel()).reshape(-1, *x.shape[1:])
            rest = layer(torch.zeros_like(x))
            columns = (layer(units) - rest).flatten(1).double().numpy().T
        layer.weight.data = kept
        return columns

    with torch.no_grad():
        bias = layer(torch.zeros_like(x)).flatten().double().numpy()
    linked = explicit(torch.ones_like(layer.weight)) > 0.5
    return explicit(layer.weight.data), linked, bias


def contributions(
    rule: str, weight: float, value: float, linked: bool, box: tuple[float, float]
) -> float:
    """Return c_ij of the rules whose contributions depend on nothing else."""
    if rule == "epsilon":
        return weight * value
    if rule == "z_plus":
        return max(weight * value, 0.0)
    if rule == "w_square":
        return weight**2
    if rule == "flat":
        return float(linked)
    return weight * value - max(weight, 0.0) * box[0] - min(weight, 0.0) * box[1]


def kept_bias(rule: str, bias: float) -> float:
    """Return what a bias adds to the denominator."""
    return {"epsilon": bias, "z_plus": max(bias, 0.0)}.get(rule, 0.0)


def stabilise(z: np.ndarray, epsilon: float) -> np.ndarray:
    """Return denominators that are not zero."""
    return z + np.where(z < 0, -1, 1) * epsilon * np.abs(z).mean()


def slow_rule(
    rule: str,
    layer: nn.Module,
    x: Tensor,
    relevance: Tensor,
    *,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    alpha: float = 2.0,
    beta: float = 1.0,
    box: Callable[[int], tuple[float, float]] = lambda place: (0.0, 1.0),
) -> Tensor:
    """Return a rule's relevance of the inputs of one sample, one product at a time."""
    weights, linked, bias = matrices(layer, x)
    values = x.flatten().double().numpy()
    given = relevance.flatten().double().numpy()
    num_outputs, num_inputs = weights.shape
    if rule == "alpha_beta":
        positive = np.clip(weights * values, 0, None)
        negative = np.clip(weights * values, None, 0)
        above = stabilise(positive.sum(1) + np.clip(bias, 0, None), epsilon)
        below = stabilise(negative.sum(1) + np.clip(bias, None, 0), epsilon)
        shares = alpha * positive / above[:, None] - beta * negative / below[:, None]
        return torch.tensor(shares.T @ given).float().reshape(x.shape)
    if rule == "gamma":
        # What has the sign of the output counts more.
        signs = np.where(weights @ values + bias >= 0, 1.0, -1.0)
        products = weights * values
        shares = np.zeros_like(products)
        for sign in (1.0, -1.0):
            # Each sign is a call of its own, and has the mean of all outputs in its epsilon.
            other = products + gamma * products * (products * sign > 0)
            z = other.sum(1) + bias + gamma * bias * (bias * sign > 0)
            chosen = signs == sign
            shares[chosen] = other[chosen] / stabilise(z, epsilon)[chosen, None]
        return torch.tensor(shares.T @ given).float().reshape(x.shape)
    table = np.zeros_like(weights)
    kept = np.zeros(num_outputs)
    for j in range(num_outputs):
        kept[j] = kept_bias(rule, bias[j])
        for i in range(num_inputs):
            table[j, i] = contributions(rule, weights[j, i], values[i], bool(linked[j, i]), box(i))
    # Sums of squares and counts cannot cancel, and go without.
    epsilon = 0.0 if rule in ("w_square", "flat") else epsilon
    shares = table / stabilise(table.sum(1) + kept, epsilon)[:, None]
    return torch.tensor(shares.T @ given).float().reshape(x.shape)
