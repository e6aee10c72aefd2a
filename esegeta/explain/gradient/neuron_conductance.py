"""Conductance of the input through one unit of a layer: integrated gradients that pass it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, LayerError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.layer.cut import deepest_name, no_part, require_ran
from esegeta.explain.meaning import CONTRIBUTION, Meaning
from esegeta.explain.objective import Objective, sum_over_windows
from esegeta.model import read_once
from esegeta.predict import Pieces


@dataclass(frozen=True)
class NeuronConductance(Explainer):
    """The part of integrated gradients that flows through one unit of a layer.

        a = (x - x') * integral_0^1 sum_p dR/dA_k,p * dA_k,p/dx dalpha   at x' + alpha (x - x')

    A_k,p is unit k at position p, in every window; by Gauss-Legendre quadrature. Positive: the
    voxel raises the target through the unit. Unit: target. Over all units of a layer that cuts the
    network in two, the maps add up to integrated gradients.

    Args:
        layer: name of the layer; the deepest (a U-Net's bottleneck) by default.
        channel: the unit: a channel of the layer's output, counted from 0.
        steps: quadrature nodes.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Dhamdhere et al., How Important Is a Neuron?, 2018, equation 3, summed over the unit's
    positions.
    """

    layer: str | None = None
    channel: int = 0
    steps: int = 32
    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "neuron_conductance"
    traits: ClassVar[Traits] = Traits("gradient", additive=True, needs_hooks=True, needs_layer=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = (
        "nothing flows through this unit (dead ReLU?), or the image is equal to its baseline; "
        "choose another `channel`, `layer` or `baseline`"
    )

    def __post_init__(self) -> None:
        for key, value, least in (("steps", self.steps, 1), ("channel", self.channel, 0)):
            if value < least:
                raise ConfigError(f"neuron_conductance: {key}: {value} must be at least {least}")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """A forward pass a step, and a backward pass in two parts: to the layer, to the input."""
        return self.steps * Cost.of(1, 1).at_another_image()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        name = self.layer or deepest_name(objective)
        x = objective.volume.data
        start = parse_baseline(self.baseline).of(objective.volume)
        path = x - start
        total = torch.zeros_like(x)
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            moved = objective.at(torch.add(start, path, alpha=float(node)))
            total.add_(gradient_through(moved, name, self.channel), alpha=float(weight))
        return RawMap(path * total, more={"layer": name, "channel": self.channel})


def gradient_through(objective: Objective, layer: str, channel: int) -> Image:
    """Return the gradient of the target by the input on the ways through one unit, `C *S`.

    Raises:
        LayerError: the layer has no such unit, ran never or twice, or has no part in the target.
    """
    network = objective.predictor.network

    def window_map(pieces: Pieces, share: Tensor) -> Tensor:
        crops = pieces.crops.requires_grad_(True)
        # Backward within as well: checkpointed blocks run again, and are to see the same hook.
        with torch.enable_grad(), read_once(network, layer) as outputs:
            logits = objective.run(crops)
            require_ran(layer, outputs)
            activation = outputs[0]
            if activation.ndim < 2 or channel >= activation.shape[1]:
                raise LayerError(
                    f'channel {channel}: the output of layer "{layer}" is '
                    f"{tuple(activation.shape)}",
                    hint=f"name a channel from 0 to {activation.shape[1] - 1}",
                )
            if not (activation.requires_grad and logits.requires_grad):
                raise LayerError(
                    f'layer "{layer}" does not depend on the input, or the output '
                    "does not depend on it",
                    hint="name another layer",
                )
            slope = slope_at_units(logits, activation, share)
            if slope is None:
                raise no_part(layer)
            unit = slice(channel, channel + 1)
            (gradient,) = torch.autograd.grad(activation[:, unit], crops, slope[:, unit])
        return gradient

    return sum_over_windows(objective, window_map)


def slope_at_units(logits: Tensor, activation: Tensor, share: Tensor) -> Tensor | None:
    """Return `d<share, logits>/dA`, the graph kept; None where the logits do not depend on A."""
    (slope,) = torch.autograd.grad(
        logits, activation, share.to(logits.dtype), retain_graph=True, allow_unused=True
    )
    return slope
