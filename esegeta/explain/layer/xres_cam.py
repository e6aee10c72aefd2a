"""Seg-XRes-CAM of the whole sliding-window prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch.nn import functional as F

from esegeta.errors import ConfigError
from esegeta.explain.explainer import Traits
from esegeta.explain.layer.cut import Site
from esegeta.explain.layer.fields import LayerFields
from esegeta.explain.layer.grad_cam import rectified
from esegeta.explain.layer.method import LayerMethod, LayerResult
from esegeta.explain.objective import Objective
from esegeta.predict import Positions

Pooling = Literal["max", "mean"]


@dataclass(frozen=True)
class XResCam(LayerMethod):
    """HiResCAM with gradients that are pooled over neighbouring positions first.

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
    traits: ClassVar[Traits] = Traits(
        "layer", needs_hooks=True, needs_layer=True, by_channel=False, unit="{target} / position"
    )
    zero_hint: ClassVar[str] = "nothing in this layer raises the target; choose another `layer`"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool < 1:
            raise ConfigError(f"xres_cam: pool: {self.pool} must be at least 1")

    @property
    def cost(self) -> str:
        """Active windows forward and back, all windows forward; again where units fill memory."""
        return "2 F + 1 B, once for every group of units that fills a quarter of a volume"

    def explain_layer(self, objective: Objective, site: Site) -> LayerResult:
        """Return the map, the same for all input channels."""
        fields = LayerFields.of(objective, site)
        thin = objective.windows.slice_axis
        sides = [1 if axis == thin else self.pool for axis in range(len(fields.grid.shape))]
        total = fields.grid.zeros(1, objective.x)
        for units in fields.groups():
            pooled = expand_pooled(fields.slopes(units), sides, self.mode)
            total[0] += pooled.mul_(fields.activations(units)).sum(dim=0)
        voxels = fields.grid.to_voxels(total).contiguous()
        return rectified(LayerResult(voxels, total, fields.grid))


def expand_pooled(data: Positions, sides: list[int], mode: Pooling) -> Positions:
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
