"""CAMs that weigh each position of a layer by its own gradient: HiResCAM, XRes-CAM, their kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional as F

from esegeta.errors import ConfigError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.assemble import LayerFields, LayerSum
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.gradient_cams import GROUP, rectified_sum
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.layer.shared import slope_in
from esegeta.explain.meaning import (
    CLASS_ACTIVATION,
    CONTRIBUTION,
    LAYER_SLOPE_TIMES_ACTIVATION,
    Meaning,
)
from esegeta.explain.objective import Objective
from esegeta.predict import Pieces, PositionValues, upsample


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
    )
    meaning: ClassVar[Meaning] = LAYER_SLOPE_TIMES_ACTIVATION

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back."""
        return Cost.of(1, 1)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        return _slope_times_activation(objective, site, LayerSum(objective, site, upsample))


Pooling = Literal["max", "mean"]


@dataclass(frozen=True)
class XResCam(LayerMethod):
    """HiResCAM with gradients first pooled over neighbouring positions.

        a = ReLU(sum_k A_k * expand(pool(dR/dA_k)))

    A is blended over windows as the logits are, dR/dA summed over them, both on the layer's grid;
    blocks of `pool` positions a side start at its first corner, and the last ones may be smaller.
    Slices of a 2D network are not pooled together. Not negative; unit: target per layer position.

    Args:
        layer: name of the layer, or a list; the deepest (a U-Net's bottleneck) by default.
        pool: side of a block, in layer positions; 1 is HiResCAM with a ReLU.
        mode: what stands for a block: the largest of its gradients, or their mean.

    Source: Hasany et al., Seg-XRes-CAM, 2023, section 3, whose code pools by the maximum. There
    blocks that the grid cuts off are filled up with zeros and stretched; here they are not.
    """

    pool: int = 2
    mode: Pooling = "max"

    name: ClassVar[str] = "xres_cam"
    traits: ClassVar[Traits] = Traits("layer", needs_hooks=True, needs_layer=True, by_channel=False)
    meaning: ClassVar[Meaning] = CLASS_ACTIVATION
    zero_hint: ClassVar[str] = "nothing in this layer raises the target; choose another `layer`"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool < 1:
            raise ConfigError(f"xres_cam: pool: {self.pool} must be at least 1")

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back, all windows forward; again where units fill memory."""
        return Cost.of(1, 1, per=GROUP) + Cost.of(1, over="all", per=GROUP)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        fields = LayerFields.of(objective, site)
        thin = objective.windows.slice_axis
        sides = [1 if axis == thin else self.pool for axis in range(len(fields.grid.shape))]

        def of_units(own: LayerFields, units: Tensor) -> Tensor:
            pooled = expand_pooled(own.slopes(units), sides, self.mode)
            return pooled.mul_(own.activations(units)).sum(dim=0)

        return rectified_sum(fields, of_units)


def expand_pooled(data: PositionValues, sides: list[int], mode: Pooling) -> PositionValues:
    """Replace each block of `K *G` by its maximum or mean; blocks at the end may be smaller."""
    if mode == "max":
        pool = F.max_pool2d if data.ndim == 3 else F.max_pool3d
        pooled = pool(data[None], sides, ceil_mode=True)[0]
    else:
        average = F.avg_pool2d if data.ndim == 3 else F.avg_pool3d
        pooled = average(data[None], sides, ceil_mode=True, count_include_pad=False)[0]
    for axis, (side, length) in enumerate(zip(sides, data.shape[1:], strict=True), start=1):
        pooled = pooled.repeat_interleave(side, dim=axis).narrow(axis, 0, length)
    return pooled.contiguous()


@dataclass(frozen=True)
class LayerGradientXActivation(LayerMethod):
    """Activations of a layer times their own gradients, spread over the voxels under them.

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
    meaning: ClassVar[Meaning] = CONTRIBUTION

    @property
    def cost_of_layer(self) -> Cost:
        """Active windows forward and back, for each layer."""
        return Cost.of(1, 1)

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        return _slope_times_activation(objective, site, LayerSum(objective, site))


def _slope_times_activation(objective: Objective, site: Site, total: LayerSum) -> LayerResult:
    """Return the sum over units of slope times activation, gathered in an empty sum."""

    def patch_map(pieces: Pieces, share: Tensor) -> Tensor:
        activation, slope = slope_in(objective, site, pieces, share)
        return (activation * slope).sum(dim=1, keepdim=True)

    total.add_windows(patch_map)
    return total.result()
