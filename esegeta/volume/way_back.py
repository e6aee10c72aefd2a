"""From the network's grid back onto that of the file.

Two grids say where values go: axes are permuted and flipped exactly, boxes are put back in their
place, and only if a resampling remains is anything interpolated. What was cut off on the way to
the network has the value 0.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from esegeta.axes import Mask
from esegeta.volume.grid import Grid
from esegeta.volume.resampling import Resampling, read_between, square_affine
from esegeta.volume.space import Cut
from esegeta.volume.volume import Volume


def resample(
    data: Shaped[Tensor, "C *S"], grid: Grid, onto: Grid, *, resampling: Resampling
) -> Shaped[Tensor, "C *T"]:
    """Bring `C *S` from one grid onto another that covers the same space.

    The value of a map is a density (per voxel of the network's grid): interpolation keeps its
    height, not its sum. Voxels beyond the border take the value at the border.
    """
    if grid.same_as(onto):
        return data
    aligned, aligned_grid = reorient_like(data, grid, onto)
    if aligned_grid.same_as(onto):
        return aligned
    shift = _shift(aligned_grid, onto)
    if shift is not None:
        return _shifted(aligned, shift, onto)
    return read_between(aligned, aligned_grid, onto, resampling=resampling)


def reorient_like(
    data: Shaped[Tensor, "C *S"], grid: Grid, like: Grid
) -> tuple[Shaped[Tensor, "C *T"], Grid]:
    """Permute and flip axes so that each points the way it does in `like`; exact."""
    if grid.same_as(like):
        return data, grid
    order, flips = _parallel_axes(grid, like) or _nearest_axes(grid, like)
    moved = data.permute(0, *(axis + 1 for axis in order)).flip([axis + 1 for axis in flips])
    turn = np.eye(4)
    turn[: grid.ndim] = 0
    for axis, came in enumerate(order):
        turn[came, axis] = -1 if axis in flips else 1
        turn[came, 3] = grid.shape[came] - 1 if axis in flips else 0
    return moved.contiguous(), Grid(tuple(moved.shape[1:]), grid.affine @ turn)


TurnBack = tuple[tuple[int, ...], tuple[int, ...]]
"""Which axis each axis comes from, and which of them are then flipped."""

PARALLEL = 1e-6
"""One minus the cosine between axes that count as parallel."""
ROUNDING = 1e-3
"""Part of a voxel by which a voxel on the face of a box may lie outside and count as inside."""


def _parallel_axes(grid: Grid, like: Grid) -> TurnBack | None:
    """Return how axes match that are parallel, also those of a slice across the x-y plane."""
    cosines = _directions(like).T @ _directions(grid)
    matches = np.abs(cosines) > 1 - PARALLEL
    if not (matches.sum(axis=0) == 1).all() or not (matches.sum(axis=1) == 1).all():
        return None
    order = tuple(int(axis) for axis in matches.argmax(axis=1))
    return order, tuple(axis for axis, came in enumerate(order) if cosines[axis, came] < 0)


def _nearest_axes(grid: Grid, like: Grid) -> TurnBack:
    """Return how axes match by the anatomical directions that they are nearest to."""
    still = tuple(range(grid.ndim))
    if _is_upright(grid) or _is_upright(like):
        return still, ()  # a 2D slice across the x-y plane has no in-plane orientation
    start = nib.orientations.io_orientation(square_affine(grid))
    end = nib.orientations.io_orientation(square_affine(like))
    change = nib.orientations.ornt_transform(start, end).astype(int)
    order = tuple(int(axis) for axis in np.argsort(change[:, 0]))
    return order, tuple(axis for axis in still if change[order[axis], 1] < 0)


def _directions(grid: Grid) -> np.ndarray:
    directions: np.ndarray = grid.affine[:3, : grid.ndim] / np.asarray(grid.spacing_mm)
    return directions


def _is_upright(grid: Grid) -> bool:
    square = grid.affine[: grid.ndim, : grid.ndim]
    return grid.ndim == 2 and bool(abs(np.linalg.det(square)) < 1e-6 * np.prod(grid.spacing_mm))


def _shift(grid: Grid, onto: Grid) -> tuple[int, ...] | None:
    """Return by how many whole voxels two grids are shifted; None where they differ otherwise."""
    start = [round(value) for value in grid.to_index(onto.to_mm((0,) * onto.ndim))]
    shift = tuple(start[: grid.ndim])
    return shift if Cut(shift, onto.shape).onto(grid).same_as(onto) else None


def _shifted(data: Tensor, start: tuple[int, ...], onto: Grid) -> Tensor:
    for axis, length in enumerate(onto.shape):
        places = torch.arange(start[axis], start[axis] + length, device=data.device)
        data = data.index_select(axis + 1, places.clamp(0, data.shape[axis + 1] - 1))
    return data


def on_source(
    data: Shaped[Tensor, "C *S"], volume: Volume, *, resampling: Resampling
) -> Shaped[Tensor, "C *T"]:
    """Bring data of the volume's grid onto its source's; 0 where the network did not see it."""
    moved = resample(data, volume.grid, volume.source.grid, resampling=resampling)
    seen = seen_on_source(volume)
    return moved if seen is None else moved * seen.to(moved.device)


def seen_on_source(volume: Volume) -> Mask | None:
    """Return the voxels of the source that were not cut off, `*T`; None where none was.

    A voxel lies in a box when its centre lies between the outer faces of the box.
    """
    source = volume.source.grid
    boxes = volume.route.kept(source)
    if not boxes:
        return None
    seen = np.ones(source.shape, dtype=bool)
    for box in boxes:
        for axis, length in enumerate(box.shape):
            index = _index_along(source, box, axis)
            seen &= (index >= -0.5 - ROUNDING) & (index < length - 0.5 - ROUNDING)
    return torch.from_numpy(seen)


def _index_along(grid: Grid, box: Grid, axis: int) -> np.ndarray:
    """Return for voxels of `grid` the fractional index along an axis of `box`, to broadcast."""
    turn = np.linalg.pinv(box.affine[:3, : box.ndim])
    step = turn[axis] @ grid.affine[:3, : grid.ndim]
    index = np.full((1,) * grid.ndim, turn[axis] @ (grid.affine[:3, 3] - box.affine[:3, 3]))
    for along, length in enumerate(grid.shape):
        if abs(step[along]) * length > ROUNDING:
            places = np.arange(length).reshape([-1 if a == along else 1 for a in range(grid.ndim)])
            index = index + step[along] * places
    return index


LINEAR_WAY_BACK = "linear from the network's grid: heights are kept, sums over voxels are not"


def is_interpolated(volume: Volume) -> bool:
    """Tell whether the way back interpolates, beyond turning axes and putting a box back."""
    source = volume.source.grid
    # The axes of no channel at all are turned: only where they end up matters.
    _, turned = reorient_like(volume.data[:0], volume.grid, source)
    return not turned.same_as(source) and _shift(turned, source) is None


def describe_way_back(volume: Volume, interpolation: str = LINEAR_WAY_BACK) -> str:
    """Return in words what happens on the way to the source's grid.

    Args:
        volume: the image.
        interpolation: the words for an interpolation, where there is one; by default those for a
            map.
    """
    source = volume.source.grid
    _, turned = reorient_like(volume.data[:0], volume.grid, source)
    if is_interpolated(volume):
        text = interpolation
    else:
        text = "none: axes are permuted and flipped at most"
        boxed = not turned.same_as(source)
        text += ", and the box that the network saw is put back in its place" if boxed else ""
    if volume.route.kept(source):
        text += "; 0 where preprocessing cut the image off"
    return text
