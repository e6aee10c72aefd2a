"""Voxels of a volume that are named by indices of the source image: a box of them, and one."""

from __future__ import annotations

import numpy as np
import torch

from esegeta.axes import Mask
from esegeta.errors import TargetError
from esegeta.volume import Grid, Volume


def voxels_in_box(volume: Volume, start: tuple[int, ...], stop: tuple[int, ...]) -> Mask:
    """Return the voxels `*S` of a volume whose centre lies in a box of the source image's voxels.

    Raises:
        TargetError: the box has another number of axes.
    """
    grid, source = volume.grid, volume.source.grid
    if len(start) != source.ndim or len(stop) != source.ndim:
        raise TargetError(
            f"over: box: {source.ndim} axes in the image, the box has {len(start)}",
            hint="write box: [[x0, y0, z0], [x1, y1, z1]] in voxels of the image",
        )
    inside = np.ones(grid.shape, dtype=bool)
    for axis, (low, high) in enumerate(zip(start, stop, strict=True)):
        index = _source_index(grid, source, axis)
        inside &= (index >= low - 0.5) & (index < high - 0.5)
    return torch.from_numpy(inside).to(volume.data.device)


def voxel_at(volume: Volume, index: tuple[float, ...]) -> Mask:
    """Return a mask of the one voxel nearest to a voxel of the source image; empty outside.

    Raises:
        TargetError: the point has another number of axes.
    """
    if len(index) != volume.source.grid.ndim:
        raise TargetError(
            f"over: point: the image has {volume.source.grid.ndim} axes, the point {len(index)}"
        )
    place = volume.grid.to_index(volume.source.grid.to_mm(index))
    voxel = tuple(round(value) for value in place)
    mask = torch.zeros(volume.grid.shape, dtype=torch.bool, device=volume.data.device)
    if all(0 <= v < n for v, n in zip(voxel, volume.grid.shape, strict=True)):
        mask[voxel] = True
    return mask


def _source_index(grid: Grid, source: Grid, axis: int) -> np.ndarray:
    """Return for each voxel of `grid` its fractional index along one axis of `source`.

    Its shape broadcasts to `*S`: axes that do not matter have length one, so that grids which
    differ by flips, crops and spacing alone cost no memory of the volume's size.
    """
    turn = np.linalg.inv(source.affine) @ grid.affine
    index = np.full((1,) * grid.ndim, turn[axis, 3])
    for own, length in enumerate(grid.shape):
        if turn[axis, own] != 0:
            shape = [length if place == own else 1 for place in range(grid.ndim)]
            index = index + turn[axis, own] * np.arange(length).reshape(shape)
    return index
