"""Internal influence: a layer's mean slope along the path from baseline to image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.cut import Site, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.layer.path import Node, crops_of, gauss_legendre, legs
from esegeta.explain.objective import Objective
from esegeta.predict import Cotangent, Pieces


@dataclass(frozen=True)
class InternalInfluence(LayerMethod):
    """The mean gradient by a layer's activations, on the way from a baseline to the image.

        a = sum_k integral_0^1 dR/dA_k (x' + alpha (x - x')) dalpha

    Nothing is multiplied: how strongly the layer is listened to, not what it says. Positive: more
    activation at the position raises the target. Unit: target per unit of activation, of all the
    layer's units together; sums are kept on the way to voxels, and what lies on padding goes to
    the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        steps: Gauss-Legendre nodes.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Leino et al., Influence-Directed Explanations for Deep Convolutional Networks, 2018,
    definition 1, with captum's distribution of interest: uniform on the path.
    """

    steps: int = 32
    baseline: Baseline | str = "blur"

    name: ClassVar[str] = "internal_influence"
    traits: ClassVar[Traits] = Traits(
        "layer",
        additive=True,
        needs_hooks=True,
        needs_layer=True,
        by_channel=False,
        unit="{target} / activation",
    )
    zero_hint: ClassVar[str] = "the target does not depend on this layer; choose another `layer`"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps < 1:
            raise ConfigError(f"{self.name}: steps: {self.steps} must be at least 1")
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> str:
        """For each layer; a target that is not linear is predicted at every step."""
        return f"{self.steps} F + {self.steps} B; not linear: {2 * self.steps} F"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        start = parse_baseline(self.baseline).of(objective.volume)

        def cotangent_at(node: float) -> Cotangent:
            return objective.at(torch.lerp(start, objective.volume.data, node)).cotangent()

        total = LayerSum(objective)
        for nodes, cotangent in legs(objective, gauss_legendre(self.steps), cotangent_at):
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
