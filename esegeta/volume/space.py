"""Changes of grid, which make up the route from the grid of a file to that of the network.

Each move tells the grid that it leads to and what becomes of data; none looks at values. So what an
image has gone through can be done again to its label map, and boxes that were once found on the
image are boxes of the label map too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from esegeta.axes import Shape
from esegeta.errors import ConfigError, DataError, suggest
from esegeta.volume.grid import Grid
from esegeta.volume.resampling import (
    Resampling,
    SeparateAxis,
    coarse_axis,
    grid_like_nnunet,
    interpolate,
    resize,
    resize_unclipped,
    step_like_monai,
)

ORDERS = (0, 1, 3)
AXIS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


class Move(ABC):
    """One change of grid."""

    @abstractmethod
    def onto(self, grid: Grid) -> Grid:
        """Return the grid that it leads to."""

    @abstractmethod
    def apply(
        self, data: Shaped[Tensor, "C *S"], grid: Grid, *, resampling: Resampling
    ) -> Shaped[Tensor, "C *T"]:
        """Return data of `grid` on the grid that it leads to.

        Args:
            data: grey values, or integers of labels.
            grid: grid of the data.
            resampling: `nearest` for labels, where the move interpolates at all.
        """

    def linear(self, data: Float[Tensor, "C *S"], grid: Grid) -> Float[Tensor, "C *T"]:
        """Return the linear part of the move of grey values: padding is 0, splines not clipped."""
        return self.apply(data, grid, resampling="bilinear")

    def transposed(self, data: Float[Tensor, "C *T"], grid: Grid) -> Float[Tensor, "C *S"]:
        """Carry values of the grid that it leads to back to `grid`, by the transpose.

            <linear(x), data> = <x, transposed(data)>   for every x

        Where each voxel is read with weights that add up to one, as by all interpolation, the
        sum is kept; that of padding is lost.
        """
        x = data.new_zeros((len(data), *grid.shape), requires_grad=True)
        with torch.enable_grad():
            moved = self.linear(x, grid)
        (back,) = torch.autograd.grad(moved, x, data)
        return back

    def kept(self, grid: Grid) -> Grid | None:
        """Return the part of `grid` that is left, where some of it is cut off."""
        return None

    def pads(self, grid: Grid) -> bool:
        """Tell whether it leads to voxels that `grid` does not have."""
        return False


@dataclass(frozen=True)
class Orient(Move):
    """Permutes and flips axes until they point as codes such as `RAS` say.

    Source: MONAI's Orientation.
    """

    codes: str

    def __post_init__(self) -> None:
        check_orientation(self.codes)

    def onto(self, grid: Grid) -> Grid:
        """Return the turned grid; every voxel keeps its place in the patient."""
        turned = self._turned(torch.empty((0, *grid.shape)), grid)
        affine = np.asarray(turned.affine, dtype=np.float64)
        return Grid(tuple(int(length) for length in turned.shape[1:]), affine)

    def apply(self, data: Tensor, grid: Grid, *, resampling: Resampling) -> Tensor:
        """Return the same values in another order."""
        turned: Tensor = self._turned(data, grid).as_tensor()
        return turned.contiguous()

    def _turned(self, data: Tensor, grid: Grid) -> Any:
        from monai.data import MetaTensor
        from monai.transforms import Orientation

        require_plane(grid)
        image = MetaTensor(data, affine=torch.as_tensor(grid.affine, dtype=torch.float64))
        return Orientation(axcodes=self.codes[: grid.ndim], labels=AXIS_LABELS)(image)


@dataclass(frozen=True)
class Transpose(Move):
    """Puts axes in another order: axis i of the result is axis `axes[i]`.

    Source: numpy.transpose; nnU-Net's transpose_forward.
    """

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        if sorted(self.axes) not in ([0, 1], [0, 1, 2]):
            raise ConfigError(
                f"transpose: {list(self.axes)} is not an order of two or three axes",
                hint="name each axis once, counted from 0, such as [2, 1, 0]",
            )

    def onto(self, grid: Grid) -> Grid:
        """Return the same voxels, with the columns of their affine in the new order."""
        self._require_axes(grid)
        affine = grid.affine.copy()
        affine[:, : grid.ndim] = grid.affine[:, list(self.axes)]
        return Grid(tuple(grid.shape[axis] for axis in self.axes), affine)

    def apply(self, data: Tensor, grid: Grid, *, resampling: Resampling) -> Tensor:
        """Return the same values in another order."""
        self._require_axes(grid)
        return data.permute(0, *(axis + 1 for axis in self.axes)).contiguous()

    def _require_axes(self, grid: Grid) -> None:
        require_length("transpose", self.axes, grid.ndim)


@dataclass(frozen=True)
class Flip(Move):
    """Stores an axis from its other end."""

    axis: int

    def onto(self, grid: Grid) -> Grid:
        """Return the grid whose voxels are counted from the other end."""
        return grid.flipped(self.axis)

    def apply(self, data: Tensor, grid: Grid, *, resampling: Resampling) -> Tensor:
        """Return the same values in reverse."""
        return data.flip(self.axis + 1)


@dataclass(frozen=True)
class Cut(Move):
    """Takes a box of voxels, which may reach beyond the grid.

    Args:
        start: its first voxel on each axis; below 0 beyond the grid.
        shape: its lengths.
        value: value of voxels beyond the grid; for labels it is 0.
    """

    start: tuple[int, ...]
    shape: Shape
    value: float = 0.0

    def onto(self, grid: Grid) -> Grid:
        """Return the grid of the box."""
        sides = zip(self.start, self.shape, strict=True)
        return grid.cropped([slice(start, start + length) for start, length in sides])

    def apply(self, data: Tensor, grid: Grid, *, resampling: Resampling) -> Tensor:
        """Return the values in the box."""
        low, high = self._inside(grid)
        inner = data[(slice(None), *(slice(a, b) for a, b in zip(low, high, strict=True)))]
        widths: list[int] = []
        for axis in reversed(range(grid.ndim)):
            stop = self.start[axis] + self.shape[axis]
            widths += [low[axis] - self.start[axis], stop - high[axis]]
        value = 0.0 if resampling == "nearest" else self.value
        return torch.nn.functional.pad(inner, widths, value=value).contiguous()

    def linear(self, data: Tensor, grid: Grid) -> Tensor:
        """Return the values in the box, 0 beyond the grid."""
        return self.apply(data, grid, resampling="nearest")

    def kept(self, grid: Grid) -> Grid | None:
        """Return the voxels of `grid` in the box; None where they are all."""
        low, high = self._inside(grid)
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        return None if shape == grid.shape else Cut(low, shape).onto(grid)

    def pads(self, grid: Grid) -> bool:
        """Tell whether the box reaches beyond the grid."""
        low, high = self._inside(grid)
        ends = zip(self.start, self.shape, strict=True)
        return low != self.start or high != tuple(start + length for start, length in ends)

    def _inside(self, grid: Grid) -> tuple[tuple[int, ...], tuple[int, ...]]:
        low = tuple(max(start, 0) for start in self.start)
        ends = zip(self.start, self.shape, grid.shape, strict=True)
        return low, tuple(min(start + length, end) for start, length, end in ends)


@dataclass(frozen=True)
class Respace(Move):
    """Resamples to a voxel size.

    With `order` 0 (nearest) and 1 (linear), as MONAI's Spacing. With order 3 (cubic spline), or
    with an axis that may be treated separately, as nnU-Net: see `resize`.

    Args:
        spacing_mm: spacing of each axis in mm; None keeps that of the file.
        order: order of the interpolation of grey values; labels take the nearest voxel.
        separate_axis: whether a coarse axis is resampled by itself, order 0; see `coarse_axis`.
    """

    spacing_mm: tuple[float | None, ...]
    order: int = 1
    separate_axis: SeparateAxis = False

    def __post_init__(self) -> None:
        if any(length is not None and length <= 0 for length in self.spacing_mm):
            raise ConfigError(f"spacing_mm: {list(self.spacing_mm)} must be above zero")
        if self.order not in ORDERS:
            raise ConfigError(f"order: {self.order} is not known", hint="choose 0, 1 or 3")
        if self.separate_axis not in (True, False, "auto"):
            words = ("auto", "true", "false")
            raise ConfigError(
                f'separate_axis: "{self.separate_axis}" is not known',
                hint=suggest(self.separate_axis, words),
            )

    @property
    def keeps_faces(self) -> bool:
        """Whether the outer faces of the image stay where they are, and not its first voxel."""
        return self.order == 3 or self.separate_axis is not False

    def onto(self, grid: Grid) -> Grid:
        """Return the grid of this voxel size, or near it where the faces must stay."""
        spacing_mm = self.asked(grid)
        require_plane(grid)
        if self.keeps_faces:
            return grid_like_nnunet(grid, spacing_mm)
        return step_like_monai(grid, spacing_mm).grid

    def asked(self, grid: Grid) -> tuple[float, ...]:
        """Return the voxel size that is asked for."""
        require_length("spacing_mm", self.spacing_mm, grid.ndim)
        pairs = zip(self.spacing_mm, grid.spacing_mm, strict=True)
        return tuple(own if asked is None else asked for asked, own in pairs)

    def apply(self, data: Tensor, grid: Grid, *, resampling: Resampling) -> Tensor:
        """Return values between voxels."""
        order = 0 if resampling == "nearest" else self.order
        onto = self.onto(grid)
        if self.keeps_faces:
            apart = coarse_axis(grid, self.asked(grid), self.separate_axis)
            return resize(data, onto.shape, order=order, apart=apart)
        step = step_like_monai(grid, self.asked(grid))
        return interpolate(data, step, resampling="bilinear" if order == 1 else "nearest")

    def linear(self, data: Tensor, grid: Grid) -> Tensor:
        """Return values between voxels; what a spline overshoots by is not clipped."""
        if not self.keeps_faces:
            return super().linear(data, grid)
        apart = coarse_axis(grid, self.asked(grid), self.separate_axis)
        return resize_unclipped(data, self.onto(grid).shape, order=self.order, apart=apart)


def check_orientation(codes: str) -> None:
    """Refuse axis codes that do not name each anatomical axis at most once."""
    axes = [next((i for i, pair in enumerate(AXIS_LABELS) if code in pair), -1) for code in codes]
    if -1 in axes or len(set(axes)) != len(axes) or len(axes) not in (2, 3):
        raise ConfigError(
            f'orientation: "{codes}" is not a set of axis codes',
            hint="use one letter of each of L/R, P/A and I/S, such as RAS or LPS",
        )


def require_length(key: str, values: Sized, ndim: int) -> None:
    """Refuse a list without exactly one value per axis."""
    if len(values) != ndim:
        raise ConfigError(
            f"preprocess.{key} has {len(values)} values for a {ndim}D image",
            hint=f"give {ndim} values",
        )


def require_plane(grid: Grid) -> None:
    """Refuse a 2D image across the x-y plane where axes must have anatomical names."""
    if grid.ndim == 2 and not np.allclose(grid.affine[2, :2], 0.0, atol=1e-4):
        raise DataError(
            "a 2D image that does not lie in the x-y plane cannot be reoriented or resampled",
            hint="leave out preprocess.orientation and preprocess.spacing_mm",
        )
