"""A layer's activations times their gradients, with their sum kept on the way to voxels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerSum
from esegeta.explain.layer.cut import Site, slope_at
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces


@dataclass(frozen=True)
class LayerGradientXActivation(LayerMethod):
    """Activations of a layer times their own gradients, handed out to the voxels under them.

        a = sum_t spread(sum_k A_t[k] * dR/dA_t[k])

    Positive: the activation raises the target over one of zero, to first order. Unit: target; the
    map adds up to the sum over the layer. `hires_cam` is the same at the height of the layer's
    grid: a position that stands for 8 voxels gives each an eighth here, and all of it there.
    What lies on padding goes to the nearest voxels of the volume.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.

    Source: Shrikumar et al., Not Just a Black Box, 2016, section 2, at a layer, as captum's
    LayerGradientXActivation; units are summed here.
    """

    name: ClassVar[str] = "layer_gradient_x_activation"
    traits: ClassVar[Traits] = Traits(
        "layer", additive=True, needs_hooks=True, needs_layer=True, by_channel=False
    )
    zero_hint: ClassVar[str] = "the target does not depend on this layer; choose another `layer`"

    @property
    def cost(self) -> str:
        """Active windows forward and back, for each layer."""
        return "1 F + 1 B"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""

        def patch_map(pieces: Pieces, share: Tensor) -> Tensor:
            activation, slope = slope_at(objective, site, pieces.crops, share)
            return (activation * slope).sum(dim=1, keepdim=True)

        total = LayerSum(objective)
        total.add_windows(patch_map)
        return total.result()
