"""Ablation-CAM of the whole sliding-window prediction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import MapError
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.changed import value_changed
from esegeta.explain.layer.cut import Change, Site
from esegeta.explain.layer.fields import LayerFields
from esegeta.explain.layer.grad_cam import blend_weighted, rectified
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces


@dataclass(frozen=True)
class AblationCam(LayerMethod):
    """Activations of a layer, weighted by how far the target falls when their channel is zeroed.

        a = ReLU(sum_k w_k A_k),   w_k = (R - R with A_k = 0 in every window) / |R|

    No gradients: also for layers that saturate. Only windows that the target touches are run for
    the weights, all of them once to blend A as the logits are; a target that is not linear is
    formed on the whole changed prediction. Not negative; unit: activation, as w has none.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Desai and Ramaswamy, Ablation-CAM, 2020, equations 1 and 3; |R| keeps the sign of the
    fall where the target is below zero.
    """

    name: ClassVar[str] = "ablation_cam"
    traits: ClassVar[Traits] = Traits(
        "layer", needs_hooks=True, needs_layer=True, by_channel=False, unit="activation"
    )
    zero_hint: ClassVar[str] = (
        "no channel of this layer raises the target on the whole; choose another `layer`"
    )

    @property
    def cost(self) -> str:
        """Active windows once for each channel of the layer, then all windows."""
        return "1 F for each channel of the layer + 2 F"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        num_units = LayerFields.of(objective, site).num_units
        value = objective.value()
        if value == 0:
            raise MapError(
                "ablation_cam: the target is zero, so that falls are no fractions of it",
                hint="choose another target, or grad_cam",
            )
        changed = [
            value_changed(objective, site, partial(_zeroed, unit)) for unit in range(num_units)
        ]
        falls = torch.tensor([value - other for other in changed], dtype=torch.float64)
        result = rectified(blend_weighted(objective, site, falls / abs(value)))
        return replace(result, more={"num_channels": num_units})


def _zeroed(unit: int, pieces: Pieces) -> Change:
    """Zero one unit of the layer in every window."""

    def change(output: Tensor) -> Tensor:
        rest = output.clone()
        rest[:, unit] = 0
        return rest

    return change
