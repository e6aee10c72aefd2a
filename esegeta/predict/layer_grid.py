"""One grid of a layer's positions over the whole volume, onto which its windows' patches are put.

A layer turns a window of W voxels into a patch of P positions along an axis; a position stands for
a stride of W / P voxels. The grid has that stride over the padded volume. Where windows start at
multiples of the stride their positions are the grid's; elsewhere each is shared out between the
two that it lies across, so that sums are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image, Shape
from esegeta.predict.resample import with_thin_axis
from esegeta.predict.windows import Windows
from esegeta.volume import Grid

Positions = Float[Tensor, "K *G"]
"""One number for each of some units at each position of a layer's grid over a volume."""


@dataclass(frozen=True)
class LayerGrid:
    """A layer's positions over a volume.

    Two uses. Sums: `add` patches to `zeros`; the total is kept. Blends, as the logits are blended:
    `add` patches times `importance`, then divide by `coverage`; heights are kept.

    Args:
        windows: over the volume.
        patch: the layer's positions in one window, along each axis of the volume.
    """

    windows: Windows
    patch: Shape

    @classmethod
    def of(cls, windows: Windows, activation: Tensor) -> LayerGrid:
        """Return the grid of a layer with these activations of windows, `N K *layer`."""
        return cls(windows, tuple(with_thin_axis(activation, windows).shape[2:]))

    @property
    def stride(self) -> tuple[float, ...]:
        """Voxels between neighbouring positions, along each axis."""
        return tuple(w / p for w, p in zip(self.windows.size, self.patch, strict=True))

    @property
    def shape(self) -> Shape:
        """Number of positions along each axis; the last may reach beyond the padded volume."""
        lengths = zip(self.windows.padded_shape, self.patch, self.windows.size, strict=True)
        return tuple(math.ceil(n * p / w) for n, p, w in lengths)

    @property
    def num_positions(self) -> int:
        """Number of positions of the grid."""
        return math.prod(self.shape)

    def grid(self, volume: Grid) -> Grid:
        """Return where the positions lie in the patient, given the volume's grid.

        Along each axis the centre of position p is `stride * (p + 1/2) - 1/2 - padding` in voxels.
        """
        affine = np.eye(4)
        for axis, stride in enumerate(self.stride):
            affine[axis, axis] = stride
            affine[axis, 3] = stride / 2 - 0.5 - self.windows.padding[axis][0]
        return Grid(self.shape, volume.affine @ affine)

    def zeros(self, channels: int, like: Tensor) -> Positions:
        """Return zeros to add patches to, `K *G`."""
        return like.new_zeros((channels, *self.shape))

    def add(self, total: Positions, windows: Sequence[int], patches: Tensor) -> None:
        """Add the patches `N K *layer` of the windows of these indices to `K *G`, in place."""
        placed = with_thin_axis(patches, self.windows).to(total)
        for window, patch in zip(windows, placed, strict=True):
            box = []
            for axis, side in enumerate(self.windows.boxes[window]):
                first, rest = divmod(side.start * self.patch[axis], self.windows.size[axis])
                patch = _shifted(patch, axis + 1, rest / self.windows.size[axis])
                box.append(slice(first, first + patch.shape[axis + 1]))
            total[(slice(None), *box)] += patch

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the mean importance of the voxels of each position of a window, `*layer`."""
        result = self.windows.importance(device, dtype)
        for axis, (length, positions) in enumerate(zip(self.windows.size, self.patch, strict=True)):
            if positions != length:
                parts = _overlaps(length, positions).to(result)
                result = torch.tensordot(result, parts, dims=([axis], [1])).movedim(-1, axis)
        thin = self.windows.slice_axis
        return result if thin is None else result.squeeze(thin)

    def coverage(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the sum of the importances of all windows at each position, `*G`."""
        return _coverage(self, device, dtype)

    def to_voxels(self, data: Positions) -> Image:
        """Resample `K *G` to the voxels of the volume, `K *S`, linearly: heights are kept."""
        result = data
        for axis, (length, stride) in enumerate(
            zip(self.windows.padded_shape, self.stride, strict=True)
        ):
            if stride != 1:
                result = _interpolated(result, axis + 1, length, stride)
        return self.windows.crop(result)


def _shifted(patch: Tensor, axis: int, fraction: float) -> Tensor:
    """Share each entry out between its place and the next one; one entry longer unless zero."""
    if fraction == 0:
        return patch
    length = patch.shape[axis]
    longer = patch.new_zeros([n + (at == axis) for at, n in enumerate(patch.shape)])
    longer.narrow(axis, 0, length).add_(patch, alpha=1 - fraction)
    longer.narrow(axis, 1, length).add_(patch, alpha=fraction)
    return longer


def _interpolated(data: Tensor, axis: int, length: int, stride: float) -> Tensor:
    places = (torch.arange(length, device=data.device, dtype=torch.float64) + 0.5) / stride - 0.5
    places = places.clamp(0, data.shape[axis] - 1)
    lower = places.floor().long()
    upper = (lower + 1).clamp(max=data.shape[axis] - 1)
    column = [length if at == axis else 1 for at in range(data.ndim)]
    weight = (places - lower).to(data).reshape(column)
    if axis == data.ndim - 1:  # index_select crawls along the last axis
        return torch.lerp(data[..., lower], data[..., upper], weight)
    return torch.lerp(data.index_select(axis, lower), data.index_select(axis, upper), weight)


@lru_cache(maxsize=32)
def _overlaps(length: int, positions: int) -> Tensor:
    """Return which part of each position each voxel of a window fills, `positions x length`."""
    stride = length / positions
    voxel = torch.arange(length, dtype=torch.float64)[None]
    start = torch.arange(positions, dtype=torch.float64)[:, None] * stride
    shared = torch.minimum(voxel + 1, start + stride) - torch.maximum(voxel, start)
    return shared.clamp(min=0) / stride


@lru_cache(maxsize=4)
def _coverage(grid: LayerGrid, device: torch.device, dtype: torch.dtype) -> Tensor:
    total = torch.zeros((1, *grid.shape), device=device, dtype=dtype)
    importance = grid.importance(device, dtype)[None, None]
    for window in range(len(grid.windows)):
        grid.add(total, [window], importance)
    return total[0]
