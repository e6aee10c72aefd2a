"""From a layer's positions in a window to the window's voxels: heights kept, or sums kept."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.predict.windows import Windows


def with_thin_axis(patches: Tensor, windows: Windows) -> Tensor:
    """Give the patches of a 2D network `N K *layer` the axis that it goes along, of length one."""
    return patches if windows.slice_axis is None else patches.unsqueeze(windows.slice_axis + 2)


def upsample(patches: Tensor, windows: Windows) -> Tensor:
    """Resample `N K *layer` to `N K *W`, linearly: heights are kept."""
    thin = windows.slice_axis
    size = [length for axis, length in enumerate(windows.size) if axis != thin]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = F.interpolate(patches, size=size, mode=mode, align_corners=False)
    return with_thin_axis(resized, windows)


def spread(patches: Tensor, windows: Windows) -> Tensor:
    """Hand out each position of `N K *layer` to the voxels around it, `N K *W`: sums are kept.

    A position is shared out among voxels in proportion to its part in their linear interpolation,
    so that the voxels of the volume add up to the positions. Voxels of padding get nothing: what
    would be theirs goes to the position's other voxels or, where it has none in the volume, to
    the nearest voxel of the volume along each axis.
    """
    result = with_thin_axis(patches, windows)
    for axis, (length, padding) in enumerate(zip(windows.size, windows.padding, strict=True)):
        positions = result.shape[axis + 2]
        if positions == length and padding == (0, 0):
            continue
        parts = _parts(positions, length, padding).to(result)
        result = torch.tensordot(result, parts, dims=([axis + 2], [1])).movedim(-1, axis + 2)
    return result


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
