"""Gradients along the straight line from a baseline to the image, and through one unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError, LayerError, MapError
from esegeta.explain.attribution import Way
from esegeta.explain.baseline import SAME_AS_BASELINE, Baseline, parse_baseline
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.layer.bypass import NOT_CHECKED, completeness, goes_around
from esegeta.explain.layer.cut import (
    deepest_name,
    no_part,
    require_ran,
    require_units_first,
)
from esegeta.explain.meaning import CONTRIBUTION, SLOPE, Meaning
from esegeta.explain.objective import (
    Objective,
    sum_over_windows,
)
from esegeta.explain.together import gradients_together, values_together
from esegeta.model import read_once
from esegeta.predict import Pieces


@dataclass(frozen=True)
class IntegratedGradients(Explainer):
    """The gradient along the straight path from a baseline to the image.

        a = (x - x') * integral_0^1 dR/dx (x' + alpha (x - x')) dalpha

    by Gauss-Legendre quadrature. Positive: the voxel, as it differs from the baseline, raises the
    target. Unit: target. The map adds up to R(x) - R(x'); the gap is always reported.

    Args:
        steps: quadrature nodes.
        baseline: zero, mean, minimum, blur, or an image file.
        tolerance: relative completeness gap above which the map carries a warning.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, 2017, equation 1.
    """

    steps: int = 32
    baseline: Baseline | str = "blur"
    tolerance: float = 0.05

    name: ClassVar[str] = "integrated_gradients"
    traits: ClassVar[Traits] = Traits("gradient", additive=True, complete=True, together=True)
    meaning: ClassVar[Meaning] = CONTRIBUTION
    zero_hint: ClassVar[str] = SAME_AS_BASELINE

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ConfigError(f"integrated_gradients: steps: {self.steps} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """A forward and backward pass per step, and two values for completeness."""
        return Cost.of(self.steps + 2, self.steps)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map and its completeness gap."""
        return self.attribute_together([objective])[0]

    def attribute_together(self, objectives: Sequence[Objective]) -> list[RawMap]:
        """Return each target's map; every step's forward passes serve all of them."""
        volume = objectives[0].volume
        start = parse_baseline(self.baseline).of(volume)
        path = volume.data - start
        totals = [torch.zeros_like(path) for _ in objectives]
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            point = torch.add(start, path, alpha=float(node))
            slopes = gradients_together([objective.at(point) for objective in objectives])
            for total, slope in zip(totals, slopes, strict=True):
                total.add_(slope, alpha=float(weight))
        ends = values_together(objectives)
        starts = values_together([objective.at(start) for objective in objectives])
        changes = [end - begin for end, begin in zip(ends, starts, strict=True)]
        return [
            self._summarise(path * total, change, Way(total, start))
            for total, change in zip(totals, changes, strict=True)
        ]

    def _summarise(self, data: Tensor, change: float, way: Way) -> RawMap:
        if not math.isfinite(change) and bool(data.isfinite().all()):
            raise MapError(
                f"integrated_gradients: the target changes by {change} from baseline to image",
                hint="its values overflow; use precision: fp32 or reduce: mean",
            )
        delta = float(data.sum(dtype=torch.float64)) - change
        relative = abs(delta) / max(abs(change), 1e-12)
        warning = (
            f"completeness: the map adds up to {change + delta:.4g}, the target changes by "
            f"{change:.4g} ({relative:.1%} apart, tolerance {self.tolerance:.1%}); "
            "use more steps or another baseline"
        )
        warnings = (warning,) if not relative <= self.tolerance else ()
        return RawMap(data, delta, relative, warnings=warnings, ways=(way,))


@dataclass(frozen=True)
class InteriorGradient(Explainer):
    """The mean gradient at a few points between a baseline and the image.

        a = 1/n sum_i dR/dx (x' + alpha_i (x - x'))

    With the zero baseline the points are alpha * x, where a saturated network is not yet flat.
    Positive: a brighter voxel raises the target there. Unit: target per unit of network input.

    Args:
        alphas: fractions of the way from the baseline to the image, 0 to 1; one for one map.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Sundararajan et al., Gradients of Counterfactuals, 2016, section 2.1. There the
    interior gradients of all alphas are looked at, or integrated; here a few are averaged.
    """

    alphas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    baseline: Baseline | str = "zero"

    name: ClassVar[str] = "interior_gradient"
    traits: ClassVar[Traits] = Traits("gradient", additive=True)
    meaning: ClassVar[Meaning] = SLOPE

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise ConfigError(
                f"interior_gradient: alphas: {list(self.alphas)} must be numbers from 0 to 1",
                hint="such as alphas: [0.25, 0.5, 0.75, 1.0]",
            )
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> Cost:
        """A forward and backward pass for each alpha."""
        return len(self.alphas) * Cost.of(1, 1).at_another_image()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean gradient."""
        x = objective.volume.data
        start = parse_baseline(self.baseline).of(objective.volume)
        total = torch.zeros_like(x)
        for alpha in self.alphas:
            moved = objective.at(torch.lerp(start, x, alpha))
            total.add_(moved.gradient(), alpha=1 / len(self.alphas))
        return RawMap(total)


@dataclass(frozen=True)
class NeuronConductance(Explainer):
    """The part of integrated gradients that flows through one unit of a layer.

        a = (x - x') * integral_0^1 sum_p dR/dA_k,p * dA_k,p/dx dalpha   at x' + alpha (x - x')

    A_k,p is unit k at position p, in every window; by Gauss-Legendre quadrature. Positive: the
    voxel raises the target through the unit. Unit: target. Over all units of a layer that cuts the
    network in two, the maps add up to integrated gradients; the gap of these, at the same nodes, is
    reported, for it says whether the integral has settled.

    Args:
        layer: name of the layer; the deepest (a U-Net's bottleneck) by default.
        channel: the unit: a channel of the layer's output, counted from 0.
        steps: quadrature nodes.
        baseline: zero, mean, minimum, blur, or an image file.
        tolerance: relative gap of integrated gradients above which the map carries a warning.

    Source: Dhamdhere et al., How Important Is a Neuron?, 2018, equation 3, summed over the unit's
    positions.
    """

    layer: str | None = None
    channel: int = 0
    steps: int = 32
    baseline: Baseline | str = "blur"
    tolerance: float = 0.05

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
        """A step forward, and back to the input by all ways and by the unit's; and two values."""
        return Cost.of(self.steps + 2, 2 * self.steps, not_linear=2 * self.steps + 1)

    def attribute(self, objective: Objective) -> RawMap:
        """Return the map."""
        name = self.layer or deepest_name(objective)
        x = objective.volume.data
        start = parse_baseline(self.baseline).of(objective.volume)
        path = x - start
        through, whole = torch.zeros_like(x), torch.zeros_like(x)
        has_bypass = False
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            moved = objective.at(torch.add(start, path, alpha=float(node)))
            found = gradient_through(moved, name, self.channel)
            through.add_(found.through, alpha=float(weight))
            whole.add_(found.whole, alpha=float(weight))
            has_bypass |= found.has_bypass
        change = objective.value() - objective.at(start).value()
        gap = completeness(float((path * whole).sum(dtype=torch.float64)), change)
        relative = gap.pop("completeness_relative")
        more: dict[str, Any] = {"layer": name, "channel": self.channel, **gap}
        more["integrated_gradients_relative"] = relative
        more["integrated_gradients_delta"] = more.pop("completeness_delta")
        more["completeness"] = NOT_CHECKED if has_bypass else "of all units of the layer together"
        warning = (
            f"completeness: over all ways through the network the path adds up to "
            f"{change + more['integrated_gradients_delta']:.4g}, the target changes by "
            f"{change:.4g} ({relative:.1%} apart, tolerance {self.tolerance:.1%}), so that the "
            "unit's part of it has not settled; use more steps or another baseline"
        )
        warnings = (warning,) if not relative <= self.tolerance else ()
        return RawMap(path * through, more=more, warnings=warnings, ways=(Way(through, start),))


@dataclass(frozen=True, eq=False)
class GradientThrough:
    """A gradient of a target by the input, and the part of it that goes through a unit.

    Args:
        through: the part that goes through the unit, `C *S`.
        whole: all of it, `C *S`.
        has_bypass: whether the input reaches the output around the unit's layer as well.
    """

    through: Image
    whole: Image
    has_bypass: bool


def gradient_through(objective: Objective, layer: str, channel: int) -> GradientThrough:
    """Return the gradient of the target by the input, and that on the ways through one unit.

    Raises:
        LayerError: the layer has no such unit, ran never or twice, or plays no part in the target.
    """
    network = objective.predictor.network
    around: list[bool] = []

    def window_map(pieces: Pieces, share: Tensor) -> Tensor:
        crops = pieces.crops.requires_grad_(True)
        # Backward within as well: what runs again to save memory is to see the same hook.
        with torch.enable_grad(), read_once(network, layer) as outputs:
            logits = objective.run(crops)
            require_ran(layer, outputs)
            activation = outputs[0]
            if activation.ndim != 2:  # one number per unit will do as well
                require_units_first(layer, tuple(activation.shape), objective.windows)
            _require_unit(activation, logits, layer, channel)
            slope, whole = torch.autograd.grad(
                logits,
                (activation, crops),
                share.to(logits.dtype),
                retain_graph=True,
                allow_unused=True,
            )
            if slope is None:
                raise no_part(layer)
            around.append(goes_around(logits, crops, activation))
            unit = slice(channel, channel + 1)
            (gradient,) = torch.autograd.grad(activation[:, unit], crops, slope[:, unit])
        return torch.cat([gradient, whole], dim=1)

    num = objective.volume.num_channels
    both = sum_over_windows(objective, window_map, num_channels=2 * num)
    return GradientThrough(both[:num], both[num:], any(around))


def _require_unit(activation: Tensor, logits: Tensor, layer: str, channel: int) -> None:
    if activation.ndim < 2 or channel >= activation.shape[1]:
        raise LayerError(
            f'channel {channel}: the output of layer "{layer}" is {tuple(activation.shape)}',
            hint=f"name a channel from 0 to {activation.shape[1] - 1}",
        )
    if not (activation.requires_grad and logits.requires_grad):
        raise LayerError(
            f'layer "{layer}" does not depend on the input, or the output does not depend on it',
            hint="name another layer",
        )
