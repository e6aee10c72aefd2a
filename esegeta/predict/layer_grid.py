"""A layer's positions: one grid of them over the whole volume, and the way to a window's voxels.

A layer turns a window of W voxels into a patch of P positions along an axis; a position stands for
a stride of W / P voxels or, where valid convolutions leave the layer only the C voxels in the
window's middle, of C / P. The grid has that stride over the padded volume. Where windows start at
multiples of the stride their positions are the grid's; elsewhere each is shared out between the
two that it lies across, so that sums are kept.

From the positions of a single window to its voxels, `upsample` keeps heights and `spread` sums.
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
from torch.nn import functional as F

from esegeta.axes import Image, Shape
from esegeta.predict.windows import Central, Windows
from esegeta.volume import Grid

PositionValues = Float[Tensor, "K *G"]
"""One number for each of some units at each position of a layer's grid over a volume."""


@dataclass(frozen=True)
class LayerGrid:
    """A layer's positions over a volume, on which patches of its windows are put.

    Args:
        windows: over the volume.
        patch: the layer's positions in one window, along each axis of the volume.
        extent_vox: voxels in the middle of a window that they cover; None for all of them.
    """

    windows: Windows
    patch: Shape
    extent_vox: Shape | None = None

    @classmethod
    def of(cls, windows: Windows, activation: Tensor, layer: str = "") -> LayerGrid:
        """Return the grid of a layer, by its name, with these activations `N K *layer`."""
        patch = tuple(_with_thin_axis(activation, windows).shape[2:])
        return cls(windows, patch, windows.extents.get(layer))

    @property
    def voxels(self) -> Central:
        """The voxels that patches cover, as a lattice to put them on."""
        return self.windows.central(self.extent_vox or self.windows.size)

    @property
    def stride(self) -> tuple[float, ...]:
        """Voxels between neighbouring positions, along each axis."""
        return tuple(c / p for c, p in zip(self.voxels.size, self.patch, strict=True))

    @property
    def first_edge(self) -> Shape:
        """Voxels of the padded volume before the first position, along each axis."""
        return tuple((w - c) // 2 for w, c in zip(self.windows.size, self.voxels.size, strict=True))

    @property
    def shape(self) -> Shape:
        """Number of positions along each axis; the last may reach beyond the padded volume."""
        lengths = zip(
            self.windows.padded_shape,
            self.windows.size,
            self.voxels.size,
            self.patch,
            strict=True,
        )
        return tuple(math.ceil((n - (w - c)) * p / c) for n, w, c, p in lengths)

    def centres(self, axis: int) -> Tensor:
        """Return where the centres of the positions lie along an axis, in voxels of the volume."""
        places = torch.arange(self.shape[axis], dtype=torch.float64)
        first = self.first_edge[axis] - self.windows.padding[axis][0]
        return self.stride[axis] * (places + 0.5) - 0.5 + first

    def places(self, axis: int) -> Tensor:
        """Return where voxels of the volume lie along an axis, counted in positions, clamped."""
        low = self.windows.padding[axis][0] - self.first_edge[axis]
        voxels = torch.arange(low, low + self.windows.shape[axis], dtype=torch.float64)
        return ((voxels + 0.5) / self.stride[axis] - 0.5).clamp(0, self.shape[axis] - 1)

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

        Along each axis the centre of position p is `stride * (p + 1/2) - 1/2 - padding` in voxels,
        and as far behind it as the first position of a window lies from the window's beginning.
        """
        affine = np.eye(4)
        for axis, stride in enumerate(self.stride):
            affine[axis, axis] = stride
            affine[axis, 3] = float(self.centres(axis)[0])
        return Grid(self.shape, volume.affine @ affine)

    def zeros(self, channels: int, like: Tensor) -> PositionValues:
        """Return zeros, `K *G`."""
        return like.new_zeros((channels, *self.shape))

    def put(
        self, total: PositionValues, window: int, patch: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Add a window's patch `K *layer`, perhaps times weights `*layer`, to `K *G`, in place."""
        thin = self.windows.slice_axis
        moved = patch if thin is None else patch.unsqueeze(thin + 1)
        moved = self.windows.turned(moved, window)
        if weights is not None:
            moved = moved * (weights if thin is None else weights.unsqueeze(thin))
        box = []
        for axis, side in enumerate(self.windows.boxes[window]):
            first, rest = divmod(side.start * self.patch[axis], self.voxels.size[axis])
            moved = _shifted(moved, axis + 1, rest / self.voxels.size[axis])
            box.append(slice(first, first + moved.shape[axis + 1]))
        part = total[(slice(None), *box)]
        part += moved

    def crop(self, data: Tensor) -> Tensor:
        """Return what was put on the grid as it is: positions of the padding are kept."""
        return data

    def importance(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Return the mean importance of the voxels of each position of a window, `*layer`."""
        result = self.voxels.importance(device, dtype)
        for axis, (length, positions) in enumerate(zip(self.voxels.size, self.patch, strict=True)):
            if positions != length:
                parts = _overlaps(length, positions).to(result)
                result = torch.tensordot(result, parts, dims=([axis], [1])).movedim(-1, axis)
        thin = self.windows.slice_axis
        return result if thin is None else result.squeeze(thin)

    def to_voxels(self, data: PositionValues) -> Image:
        """Resample `K *G` to the voxels of the volume, `K *S`, linearly: heights are kept."""
        result = data
        for axis, (stride, length) in enumerate(zip(self.stride, self.windows.shape, strict=True)):
            places = self.places(axis)
            if stride == 1:
                result = result.narrow(axis + 1, int(places[0]), length)
            else:
                result = _interpolated(result, axis + 1, places)
        return result

    def bounds(self, window: int) -> tuple[tuple[int, int], ...]:
        """Return which voxels that a window's patch covers are in the volume: first and end.

        Counted as the window's network sees them, from the other end where it is mirrored.
        """
        axes = zip(
            self.voxels.boxes[window],
            self.windows.padding,
            self.windows.shape,
            self.voxels.size,
            strict=True,
        )
        found = [
            (min(max(low - side.start, 0), c), min(max(low + n - side.start, 0), c))
            for side, (low, _), n, c in axes
        ]
        for axis in self.windows.flips(window):
            (first, end), length = found[axis], self.voxels.size[axis]
            found[axis] = (length - end, length - first)
        return tuple(found)


def _with_thin_axis(patches: Tensor, windows: Windows) -> Tensor:
    """Give the patches of a 2D network `N K *layer` the axis that it goes along, of length one."""
    return patches if windows.slice_axis is None else patches.unsqueeze(windows.slice_axis + 2)


def upsample(patches: Tensor, grid: LayerGrid, windows: Sequence[int]) -> Tensor:
    """Resample `N K *layer` to the voxels that it covers, `N K *C`, linearly: heights are kept.

    Args:
        patches: patches of a layer in some windows.
        grid: the layer's.
        windows: indices of these windows; they are all resampled alike.
    """
    thin = grid.windows.slice_axis
    size = [length for axis, length in enumerate(grid.voxels.size) if axis != thin]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = F.interpolate(patches, size=size, mode=mode, align_corners=False)
    return _with_thin_axis(resized, grid.windows)


def spread(patches: Tensor, grid: LayerGrid, windows: Sequence[int]) -> Tensor:
    """Hand out each position of `N K *layer` to the voxels around it, `N K *C`: sums are kept.

    A position is shared out among voxels in proportion to its part in their linear interpolation,
    so that the voxels of the volume add up to the positions. Voxels of padding get nothing: what
    would be theirs goes to the position's other voxels or, where it has none in the volume, to
    the nearest voxel of the volume along each axis.

    Args:
        patches: patches of a layer in some windows.
        grid: the layer's.
        windows: indices of these windows.
    """
    result = _with_thin_axis(patches, grid.windows)
    bounds = [grid.bounds(window) for window in windows]
    if len(set(bounds)) == 1:
        return _spread(result, grid, bounds[0])
    parts = [
        _spread(one[None], grid, own) for one, own in zip(result.unbind(), bounds, strict=True)
    ]
    return torch.cat(parts)


def _spread(patches: Tensor, grid: LayerGrid, bounds: Sequence[tuple[int, int]]) -> Tensor:
    for axis, (length, inside) in enumerate(zip(grid.voxels.size, bounds, strict=True)):
        positions = patches.shape[axis + 2]
        if positions == length and inside == (0, length):
            continue
        parts = _parts(positions, length, inside).to(patches)
        patches = torch.tensordot(patches, parts, dims=([axis + 2], [1])).movedim(-1, axis + 2)
    return patches


def _shifted(patch: Tensor, axis: int, fraction: float) -> Tensor:
    """Share each entry out between its place and the next one; one entry longer unless zero."""
    if fraction == 0:
        return patch
    length = patch.shape[axis]
    longer = patch.new_zeros([n + (at == axis) for at, n in enumerate(patch.shape)])
    longer.narrow(axis, 0, length).add_(patch, alpha=1 - fraction)
    longer.narrow(axis, 1, length).add_(patch, alpha=fraction)
    return longer


def _interpolated(data: Tensor, axis: int, places: Tensor) -> Tensor:
    lower = places.floor().long().to(data.device)
    upper = (lower + 1).clamp(max=data.shape[axis] - 1)
    column = [len(places) if at == axis else 1 for at in range(data.ndim)]
    weight = (places.to(data.device) - lower).to(data).reshape(column)
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


@lru_cache(maxsize=128)
def _parts(positions: int, length: int, inside: tuple[int, int]) -> Tensor:
    """Return each voxel's part of each position along one axis, `length x positions`."""
    identity = torch.eye(positions, dtype=torch.float64)[None]
    parts = F.interpolate(identity, size=length, mode="linear", align_corners=False)[0].T.clone()
    low, high = inside
    parts[:low] = 0
    parts[high:] = 0
    for position in torch.nonzero(parts.sum(dim=0) == 0)[:, 0].tolist():
        centre = int((position + 0.5) * length / positions)
        parts[min(max(centre, min(low, length - 1)), max(high - 1, 0)), position] = 1
    return parts / parts.sum(dim=0)
