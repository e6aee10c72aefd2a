"""A layer along a straight path of the input: internal influence and conductance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.bypass import checked
from esegeta.explain.layer.cut import Site, read, slope_at
from esegeta.explain.layer.from_baseline import FromBaseline, Node, crops_of, legs
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.meaning import CONTRIBUTION, INFLUENCE, Meaning
from esegeta.explain.objective import AnyCotangent, Objective
from esegeta.predict import Pieces, line_nodes


@dataclass(frozen=True)
class InternalInfluence(FromBaseline):
    """The mean gradient with respect to a layer's activations, from a baseline to the image.

        a = sum_k integral_0^1 dR/dA_k (x' + alpha (x - x')) dalpha

    Activations are not multiplied in: the map shows how strongly the target depends on the layer.
    Positive: more activation at the position raises the target. Unit: target per unit of
    activation, of all the layer's units together; sums are kept on the way to voxels, and
    what lies on padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: Gauss-Legendre nodes.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Leino et al., Influence-Directed Explanations for Deep Convolutional Networks, 2018,
    definition 1, with captum's distribution of interest: uniform on the path.
    """

    name: ClassVar[str] = "internal_influence"
    traits: ClassVar[Traits] = Traits(
        "layer",
        additive=True,
        needs_hooks=True,
        needs_layer=True,
        by_channel=False,
    )
    meaning: ClassVar[Meaning] = INFLUENCE
    zero_hint: ClassVar[str] = LayerMethod.zero_hint

    @property
    def cost_of_layer(self) -> Cost:
        """For each layer; a target that is not linear is predicted at every step."""
        return Cost.of(self.steps, self.steps, not_linear=2 * self.steps)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        start = self.start(objective)

        def cotangent_at(node: float) -> AnyCotangent:
            return objective.at(torch.lerp(start, objective.volume.data, node)).cotangent()

        total = LayerSum(objective, site)
        for nodes, cotangent in legs(objective, line_nodes(self.steps), cotangent_at):
            total.add_windows(
                partial(_mean_slope, objective, site, start, nodes), cotangent=cotangent
            )
        return total.result()


def _mean_slope(
    objective: Objective,
    site: Site,
    start: Image,
    nodes: Sequence[Node],
    pieces: Pieces,
    share: Tensor,
) -> Tensor:
    ends = crops_of(objective, start, pieces)
    parts = []
    for node, weight in nodes:
        crops = torch.lerp(ends, pieces.crops, node)
        _, slope = slope_at(objective, site, crops, share)
        parts.append(weight * slope.sum(dim=1, keepdim=True))
    return torch.stack(parts).sum(dim=0)


@dataclass(frozen=True)
class LayerConductance(FromBaseline):
    """The part of integrated gradients that flows through each position of a layer.

        a = sum_k integral_0^1 dR/dA_k (x_alpha) * dA_k(x_alpha)/dalpha dalpha
        x_alpha = x' + alpha (x - x')

    Positive: what the position does differently from the baseline raises the target. Unit: target.
    If nothing bypasses the layer, the map adds up to R(x) - R(x'), and the gap is reported;
    elsewhere the facts say that it cannot be checked. What lies on padding goes to the nearest
    voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: intervals of the path.
        baseline: zero, mean, minimum, blur, or an image file.
        tolerance: relative completeness gap above which the map carries a warning.

    Source: Dhamdhere et al., How Important Is a Neuron?, 2018, equation 2. Captum takes the slope
    at the left end of each interval, an error of order 1/steps; here it is the mean of both ends.
    """

    tolerance: float = 0.05

    name: ClassVar[str] = "layer_conductance"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost_of_layer(self) -> Cost:
        """For each layer; a target that is not linear is predicted at every step."""
        nodes = self.steps + 1
        return Cost.of(nodes + 2, nodes, not_linear=4 * nodes + 1)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map and how far it is from the change of the target."""
        start = self.start(objective)
        total = LayerSum(objective, site)
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
        more, warnings = checked(objective, site, total.total, change, self.tolerance)
        return replace(total.result(), more=more, warnings=warnings)

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
