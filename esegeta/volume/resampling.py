"""Grids of another spacing, and values between voxels; every way is linear and differentiable.

Two ways, for two families of pipelines. MONAI's: the first voxel stays where it is, the affine
says where the others are taken. nnU-Net's: the outer faces of the image stay where they are, as
in skimage's resize; axes are taken one after the other, each by a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy import ndimage
from torch import Tensor

from esegeta.axes import Shape
from esegeta.volume.grid import Grid

Resampling = Literal["bilinear", "nearest"]
SeparateAxis = bool | str
"""True, False or "auto"."""

ANISOTROPY = 3.0
"""nnU-Net treats an axis separately if its voxels are more than this many times longer."""
DIGITS = 12
"""Decimals of a spacing that are more than rounding."""
ALMOST = 1e-6
"""Fraction by which rounding may set the spacings of equal axes apart."""
SAME_AFFINE = 1e-3
"""How far affines that MONAI takes for the same may differ; AFFINE_TOL there."""
SAME_SPACING = 1e-2
"""Fraction of a spacing by which another must differ; to MONAI all below 1 um are one."""


@dataclass(frozen=True, eq=False)
class Step:
    """From voxels of one grid to those of another.

    Args:
        grid: the grid that it leads to.
        turn: fractional indices in the old grid of voxels of the new one; None where all stay.
    """

    grid: Grid
    turn: np.ndarray | None


def step_like_monai(grid: Grid, spacing_mm: Sequence[float]) -> Step:
    """Return the step to another spacing: the first voxel stays, shears are removed.

    Source: MONAI's Spacing(pixdim, diagonal=False), of which these are the parts.
    """
    from monai.data.utils import compute_shape_offset, to_affine_nd, zoom_affine

    square = square_affine(grid)
    found = np.asarray(grid.spacing_mm)
    asked = np.asarray(spacing_mm, dtype=np.float64)
    reached = np.where(np.abs(found - asked) <= _same(found), found, asked)
    onto = zoom_affine(square, reached, diagonal=False)
    lengths, offset = compute_shape_offset(grid.shape, square, onto)
    onto[: grid.ndim, -1] = offset[: grid.ndim]
    shape = tuple(int(length) for length in lengths)
    turn = _turn(square, onto, grid.shape, shape)
    if turn is None:
        return Step(grid, None)
    affine = torch.as_tensor(grid.affine) @ torch.as_tensor(to_affine_nd(3, turn))
    return Step(Grid(shape, affine.numpy()), turn)


def _turn(affine: np.ndarray, other: np.ndarray, shape: Shape, onto: Shape) -> np.ndarray | None:
    """Return the turn between two square affines; None where MONAI takes them for the same."""
    turn: np.ndarray = np.linalg.solve(affine, other)
    spacings = np.linalg.norm(affine[:-1, :-1], axis=0)
    close = np.allclose(affine, other, atol=_same(spacings), rtol=1e-5)
    still = np.allclose(turn, np.eye(len(turn)), atol=SAME_AFFINE, rtol=1e-5)
    return None if tuple(shape) == tuple(onto) and (close or still) else turn


def _same(spacings_mm: np.ndarray) -> float:
    return float(min(SAME_AFFINE, SAME_SPACING * spacings_mm.min()))


def read_between(
    data: Shaped[Tensor, "C *S"], grid: Grid, onto: Grid, *, resampling: Resampling
) -> Shaped[Tensor, "C *T"]:
    """Read values at the voxels of any grid; see `interpolate`."""
    turn = _turn(square_affine(grid), square_affine(onto), grid.shape, onto.shape)
    return interpolate(data, Step(onto, turn), resampling=resampling)


def interpolate(
    data: Shaped[Tensor, "C *S"], step: Step, *, resampling: Resampling
) -> Shaped[Tensor, "C *T"]:
    """Read values at the voxels of another grid; beyond the border stands the border's value.

    Computed in float64 and returned in the type of `data`, whole numbers exactly.

    Source: MONAI's SpatialResample(padding_mode="border", align_corners=False, dtype=float64).
    """
    if step.turn is None:
        return data
    if not data.is_floating_point():
        # Places are resampled and not the numbers, for float64 cannot hold all of these.
        places = torch.arange(data[0].numel(), device=data.device).reshape(1, *data.shape[1:])
        nearest = _sampled(places.double(), step.turn, step.grid.shape, "nearest").long()
        return data.flatten(1)[:, nearest[0]]
    moved = _sampled(data.double(), step.turn, step.grid.shape, resampling)
    return moved.to(data.dtype).contiguous()


def _sampled(
    data: Float[Tensor, "C *S"], turn: np.ndarray, shape: Shape, resampling: Resampling
) -> Float[Tensor, "C *T"]:
    from monai.networks.layers import AffineTransform

    sampler: Any = AffineTransform(
        normalized=False,
        mode=resampling,
        padding_mode="border",
        align_corners=False,
        reverse_indexing=True,
    )
    moved: Tensor = sampler(data[None], torch.as_tensor(turn).to(data), spatial_size=shape)
    return moved[0]


def square_affine(grid: Grid) -> np.ndarray:
    """Return the (ndim + 1) x (ndim + 1) affine of the grid's own axes."""
    keep = [*range(grid.ndim), 3]
    return np.asarray(grid.affine[np.ix_(keep, keep)], dtype=np.float64)


def grid_like_nnunet(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """Return the grid of round(spacing / new spacing * length) voxels between the same faces.

    The spacing that is reached is old spacing * old length / new length.

    Source: nnU-Net's compute_new_shape; faces stay as in skimage's resize.
    """
    # The length of an affine's column carries rounding, which must not decide a half.
    found = [round(length, DIGITS) for length in grid.spacing_mm]
    pairs = zip(found, spacing_mm, grid.shape, strict=True)
    lengths = [max(1, round(old / new * length)) for old, new, length in pairs]
    return _between_faces(grid, tuple(lengths))


def _between_faces(grid: Grid, shape: Shape) -> Grid:
    turn = np.eye(4)
    for axis, (old, new) in enumerate(zip(grid.shape, shape, strict=True)):
        turn[axis, axis] = old / new
        turn[axis, 3] = (old / new - 1) / 2
    return Grid(shape, grid.affine @ turn)


def coarse_axis(grid: Grid, spacing_mm: Sequence[float], separate_axis: SeparateAxis) -> int | None:
    """Return the axis that nnU-Net resamples separately, or None.

    `True`: the axis of the largest spacing. "auto": that axis, if its spacing is more than 3 times
    the smallest; otherwise that of the largest new spacing, on the same condition. None where two
    axes share the largest spacing.

    Source: nnU-Net's resample_data_or_seg_to_shape (force_separate_z True, or None for "auto").
    """
    if separate_axis is False or grid.ndim < 3:
        return None
    for spacing in (grid.spacing_mm, tuple(spacing_mm)):
        largest, smallest = max(spacing), min(spacing)
        if separate_axis is True or largest > ANISOTROPY * smallest * (1 + ALMOST):
            axes = [axis for axis, length in enumerate(spacing) if length > largest * (1 - ALMOST)]
            return axes[0] if len(axes) == 1 else None
    return None


def resize(
    data: Shaped[Tensor, "C *S"], shape: Shape, *, order: int, apart: int | None = None
) -> Shaped[Tensor, "C *T"]:
    """Resize as nnU-Net does: splines along the axes, then the nearest slice along one apart.

    Values are clipped to the range of the image, or of each slice where an axis is apart, as
    skimage does. Computed in float64 and returned in the type of `data`.

    Args:
        data: whole numbers take the nearest voxel on every axis.
        shape: the shape to reach.
        order: order of the spline: 0 nearest, 1 linear, 3 cubic.
        apart: the axis that is taken last, by order 0.

    Source: skimage.transform.resize(order, mode="edge", anti_aliasing=False, clip=True), which is
    scipy.ndimage.zoom(mode="nearest", grid_mode=True); nnU-Net's resample_data_or_seg, order_z 0.
    """
    if not data.is_floating_point():
        order = 0
    moved = _within(data.double() if order > 0 else data, shape, order=order, apart=apart)
    if order > 0 and tuple(moved.shape) != tuple(data.shape):
        axes = [axis + 1 for axis in range(len(shape)) if axis != apart]
        moved = moved.clamp(data.double().amin(axes, True), data.double().amax(axes, True))
    return _apart(moved, shape, apart).to(data.dtype).contiguous()


def resize_unclipped(
    data: Float[Tensor, "C *S"], shape: Shape, *, order: int, apart: int | None = None
) -> Float[Tensor, "C *T"]:
    """Resize as `resize` does, but linearly: values that a spline overshoots by are not clipped."""
    moved = _within(data.double(), shape, order=order, apart=apart)
    return _apart(moved, shape, apart).to(data.dtype).contiguous()


def _within(data: Tensor, shape: Shape, *, order: int, apart: int | None) -> Tensor:
    """Resize along all axes but one, without clipping."""
    for axis, length in enumerate(shape):
        if axis != apart:
            data = _along(data, axis + 1, length, order)
    return data


def _apart(data: Tensor, shape: Shape, apart: int | None) -> Tensor:
    """Take the nearest slices along the axis that is apart, where there is one."""
    return data if apart is None else _along(data, apart + 1, shape[apart], 0)


def _along(data: Tensor, dim: int, length: int, order: int) -> Tensor:
    old = int(data.shape[dim])
    if old == length:
        return data
    if order == 0:
        return data.index_select(dim, _nearest(old, length).to(data.device))
    matrix = spline_matrix(old, length, order).to(data.device)
    return torch.movedim(torch.movedim(data, dim, -1) @ matrix.T, -1, dim)


def _nearest(old: int, new: int) -> Tensor:
    place = (np.arange(new) + 0.5) * old / new - 0.5
    return torch.from_numpy(np.floor(place + 0.5).clip(0, old - 1).astype(np.int64))


@lru_cache(maxsize=64)
def spline_matrix(old: int, new: int, order: int) -> Float[Tensor, "new old"]:
    """Return the linear map that scipy's zoom is along one axis, float64.

    Column i is what zoom makes of a 1 at i and 0 elsewhere, prefilter and border included.
    """
    columns = [
        ndimage.zoom(unit, new / old, order=order, mode="nearest", grid_mode=True)
        for unit in np.eye(old)
    ]
    return torch.from_numpy(np.stack(columns, axis=1))
