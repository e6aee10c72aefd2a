"""HiResCAM of the whole sliding-window prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.cut import Site, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces, upsample


@dataclass(frozen=True)
class HiResCam(LayerMethod):
    """Activations of a layer times their own gradients, position by position.

        a = sum_t upsample(sum_k dR/dA_t[k] * A_t[k])

    Exact for what the layer passes on linearly. Positive: the position raises the target. Unit:
    target per layer position, at the height (not the sum) of the layer's grid; see
    `layer_gradient_x_activation` for the same with the sum kept.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Draelos and Carin, Use HiResCAM instead of Grad-CAM, 2020, equation 5; the sign is
    kept here.
    """

    name: ClassVar[str] = "hires_cam"
    traits: ClassVar[Traits] = Traits(
        "layer",
        additive=True,
        needs_hooks=True,
        needs_layer=True,
        by_channel=False,
        unit="{target} / position",
    )
    zero_hint: ClassVar[str] = "the target does not depend on this layer; choose another `layer`"

    @property
    def cost(self) -> str:
        """Active windows forward and back."""
        return "1 F + 1 B"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""

        def patch_map(pieces: Pieces, share: Tensor) -> Tensor:
            activation, slope = slope_at(objective, site, pieces.crops, share)
            return (activation * slope).sum(dim=1, keepdim=True)

        total = LayerSum(objective, upsample)
        total.add_windows(patch_map)
        return total.result()
