"""Grad-CAM++ of the whole sliding-window prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.explain.explainer import Traits
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.fields import LayerFields
from esegeta.explain.layer.grad_cam import rectified
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.predict import Positions


@dataclass(frozen=True)
class GradCamPP(LayerMethod):
    """Grad-CAM whose channel weights let each position count by how much it needs.

        a = ReLU(sum_k w_k A_k),   w_k = sum_i c_ki ReLU(g_ki)
        c_ki = 1 / (2 + g_ki sum_j ReLU(A_kj))

    A is blended over windows as the logits are and g = dR/dA summed over them, on the layer's
    grid, before any weight is formed. Not negative; unit: target. A channel with few positions
    that matter counts as much as one with many. The weights depend on the target's scale.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Chattopadhay et al., Grad-CAM++, 2018, equations 10 and 19, whose score exp(R) would
    overflow: the factor exp(R), common to all weights, is left out. There all activations come
    from a ReLU; for others c would have poles, so that only their positive part is summed here.
    """

    name: ClassVar[str] = "grad_cam_pp"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    zero_hint: ClassVar[str] = "nothing in this layer raises the target; choose another `layer`"

    @property
    def cost(self) -> str:
        """Active windows forward and back, all windows forward; again where units fill memory."""
        return "2 F + 1 B, once for every group of units that fills a quarter of a volume"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        fields = LayerFields.of(objective, site)
        total = fields.grid.zeros(1, objective.x)
        for units in fields.groups():
            rises = fields.slopes(units).relu_()
            activations = fields.activations(units)
            sums = activations.relu().flatten(1).sum(dim=1, dtype=torch.float64)
            total[0] += torch.einsum("k,k...->...", _weights(rises, sums), activations)
        voxels = fields.grid.to_voxels(total).contiguous()
        return rectified(LayerResult(voxels, total, fields.grid))


def _weights(rises: Positions, sums: Tensor) -> Tensor:
    """Return `sum_i g / (2 + g S)` over positions with g > 0, one weight a unit."""
    column = sums.to(rises).reshape(-1, *([1] * (rises.ndim - 1)))
    return (rises / (2 + rises * column)).flatten(1).sum(dim=1)
