"""A layer's positions: one grid of them over the whole volume, and the way to a window's voxels.

A layer turns a window of W voxels into a patch of P positions along an axis; a position stands for
a stride of W / P voxels. The grid has that stride over the padded volume. Where windows start at
multiples of the stride their positions are the grid's; elsewhere each is shared out between the
two that it lies across, so that sums are kept.

From the positions of a single window to its voxels, `upsample` keeps heights and `spread` sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Image, Shape
from esegeta.predict.windows import Windows
from esegeta.volume import Grid

Positions = Float[Tensor, "K *G"]
"""One number for each of some units at each position of a layer's grid over a volume."""


@dataclass(frozen=True)
class LayerGrid:
    """A layer's positions over a volume, on which patches of its windows are put.

    Args:
        windows: over the volume.
        patch: the layer's positions in one window, along each axis of the volume.
    """

    windows: Windows
    patch: Shape

    @classmethod
    def of(cls, windows: Windows, activation: Tensor) -> LayerGrid:
        """Return the grid of a layer with these activations of windows, `N K *layer`."""
        return cls(windows, tuple(_with_thin_axis(activation, windows).shape[2:]))

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

    @property
    def extent(self) -> Shape:
        """Positions along each axis of what windows are put on: all of them."""
        return self.shape

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
        """Return zeros, `K *G`."""
        return like.new_zeros((channels, *self.shape))

    def put(
        self, total: Positions, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *layer`, perhaps times weights `*layer`, to `K *G`, in place."""
        thin = self.windows.slice_axis
        moved = patch if weights is None else patch * weights
        moved = moved if thin is None else moved.unsqueeze(thin + 1)
        box = []
        for axis, side in enumerate(self.windows.boxes[window]):
            first, rest = divmod(side.start * self.patch[axis], self.windows.size[axis])
            moved = _shifted(moved, axis + 1, rest / self.windows.size[axis])
            box.append(slice(first, first + moved.shape[axis + 1]))
        part = total[(slice(None), *box)]
        part += moved

    def crop(self, data: Tensor) -> Tensor:
        """Return what was put on the grid as it is: positions of the padding are kept."""
        return data

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


def _with_thin_axis(patches: Tensor, windows: Windows) -> Tensor:
    """Give the patches of a 2D network `N K *layer` the axis that it goes along, of length one."""
    return patches if windows.slice_axis is None else patches.unsqueeze(windows.slice_axis + 2)


def upsample(patches: Tensor, windows: Windows) -> Tensor:
    """Resample `N K *layer` to `N K *W`, linearly: heights are kept."""
    thin = windows.slice_axis
    size = [length for axis, length in enumerate(windows.size) if axis != thin]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = F.interpolate(patches, size=size, mode=mode, align_corners=False)
    return _with_thin_axis(resized, windows)


def spread(patches: Tensor, windows: Windows) -> Tensor:
    """Hand out each position of `N K *layer` to the voxels around it, `N K *W`: sums are kept.

    A position is shared out among voxels in proportion to its part in their linear interpolation,
    so that the voxels of the volume add up to the positions. Voxels of padding get nothing: what
    would be theirs goes to the position's other voxels or, where it has none in the volume, to
    the nearest voxel of the volume along each axis.
    """
    result = _with_thin_axis(patches, windows)
    for axis, (length, padding) in enumerate(zip(windows.size, windows.padding, strict=True)):
        positions = result.shape[axis + 2]
        if positions == length and padding == (0, 0):
            continue
        parts = _parts(positions, length, padding).to(result)
        result = torch.tensordot(result, parts, dims=([axis + 2], [1])).movedim(-1, axis + 2)
    return result


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


@lru_cache(maxsize=32)
def _parts(positions: int, length: int, padding: tuple[int, int]) -> Tensor:
    """Return each voxel's part of each position along one axis, `length x positions`."""
    identity = torch.eye(positions, dtype=torch.float64)[None]
    parts = F.interpolate(identity, size=length, mode="linear", align_corners=False)[0].T.clone()
    low, high = padding[0], length - padding[1]
    parts[:low] = 0
    parts[high:] = 0
    for position in torch.nonzero(parts.sum(dim=0) == 0)[:, 0].tolist():
        centre = int((position + 0.5) * length / positions)
        parts[min(max(centre, low), high - 1), position] = 1
    return parts / parts.sum(dim=0)


@lru_cache(maxsize=4)
def _coverage(grid: LayerGrid, device: torch.device, dtype: torch.dtype) -> Tensor:
    total = torch.zeros((1, *grid.shape), device=device, dtype=dtype)
    importance = grid.importance(device, dtype)[None]
    for window in range(len(grid.windows)):
        grid.put(total, window, importance)
    return total[0]
