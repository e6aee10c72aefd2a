"""Conductance: what flows through a layer's units on the way from baseline to image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.cut import Site, read, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.layer.path import completeness, crops_of
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces


@dataclass(frozen=True)
class LayerConductance(LayerMethod):
    """The part of integrated gradients that flows through each position of a layer.

        a = sum_k integral_0^1 dR/dA_k (x_alpha) * dA_k(x_alpha)/dalpha dalpha
        x_alpha = x' + alpha (x - x')

    Positive: what the position does differently from the baseline raises the target. Unit: target.
    Where nothing goes around the layer the map adds up to R(x) - R(x'); the gap is reported. What
    lies on padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: intervals of the path.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Dhamdhere et al., How Important Is a Neuron?, 2018, equation 2. Captum takes the slope
    at the left end of each interval, an error of order 1/steps; here it is the mean of both ends.
    """

    steps: int = 32
    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "layer_conductance"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    zero_hint: ClassVar[str] = (
        "is the layer's output the same for image and baseline? choose another `baseline` or "
        "`layer`"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"{self.name}: steps: {self.steps} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> str:
        """For each layer; a target that is not linear is predicted at every step."""
        nodes = self.steps + 1
        return f"{nodes + 2} F + {nodes} B; not linear: {4 * nodes + 1} F"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map and how far it is from the change of the target."""
        start = parse_baseline(self.baseline).of(objective.volume)
        total = LayerSum(objective)
        if objective.target.is_linear:
            total.add_windows(partial(self._all_intervals, objective, site, start))
        else:
            for step in range(self.steps + 1):
                moved = torch.lerp(start, objective.volume.data, step / self.steps)
                total.add_windows(
                    partial(self._one_node, objective, site, start, step),
                    cotangent=objective.at(moved).cotangent(),
                )
        change = objective.value() - objective.at(start).value()
        return replace(total.result(), more=completeness(total.total, change))

    def _all_intervals(
        self, objective: Objective, site: Site, start: Image, pieces: Pieces, share: Tensor
    ) -> Tensor:
        """Return the sum over intervals of the mean slope times the change of activation."""
        ends = crops_of(objective, start, pieces)
        activation, slope = slope_at(objective, site, ends, share)
        total = torch.zeros_like(activation)
        for step in range(1, self.steps + 1):
            crops = torch.lerp(ends, pieces.crops, step / self.steps)
            following, steeper = slope_at(objective, site, crops, share)
            total += (slope + steeper) / 2 * (following - activation)
            activation, slope = following, steeper
        return total.sum(dim=1, keepdim=True)

    def _one_node(
        self,
        objective: Objective,
        site: Site,
        start: Image,
        step: int,
        pieces: Pieces,
        share: Tensor,
    ) -> Tensor:
        """Return the same sum's terms that hold the slope at one node."""
        ends = crops_of(objective, start, pieces)

        def crops_at(node: int) -> Tensor:
            return torch.lerp(ends, pieces.crops, min(max(node, 0), self.steps) / self.steps)

        _, slope = slope_at(objective, site, crops_at(step), share)
        _, before = read(objective, site, crops_at(step - 1))
        _, after = read(objective, site, crops_at(step + 1))
        return (slope / 2 * (after - before)).sum(dim=1, keepdim=True)
