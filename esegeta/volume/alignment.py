"""Whether two files hold the same voxels: how one array is turned onto the other, or what differs.

Files of one patient come from several programs, which round affines and store axes in orders of
their own. Voxels are the same where they lie within a hundredth of a voxel of each other, whatever
the order and direction of the axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esegeta.axes import shape_text
from esegeta.errors import GridError
from esegeta.volume.grid import Grid

SAME_VOXEL = 1e-2
"""Voxels of two files are the same where their centres are no further apart than this share of
the spacing."""
ROUNDING = 5e-4
"""Shares are known to this accuracy: affines are stored in float32."""


@dataclass(frozen=True)
class Turn:
    """Axes permuted, then flipped: exact for any array.

    Args:
        order: for each axis of the result, the index of the axis of the array that it comes from.
        flips: axes of the result that are counted from their other end.
    """

    order: tuple[int, ...]
    flips: tuple[int, ...]

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """Turn an array `C *S`."""
        moved = np.transpose(array, (0, *(axis + 1 for axis in self.order)))
        return np.flip(moved, tuple(axis + 1 for axis in self.flips))


def turn_onto(grid: Grid, onto: Grid) -> Turn | None:
    """Return how an array of one grid becomes one of another with the same voxels.

    None where the voxels are not the same: somewhere they are further apart than a hundredth of
    the spacing, along any axis.
    """
    ndim = grid.ndim
    if ndim != onto.ndim:
        return None
    # Voxel indices of `grid` to those of `onto`; a 2D image's third axis does not matter.
    between = np.linalg.inv(onto.affine) @ grid.affine
    turn = np.rint(between[:ndim, :ndim])
    if not np.array_equal(np.abs(turn) @ np.abs(turn).T, np.eye(ndim)):
        return None
    order = tuple(int(axis) for axis in np.abs(turn).argmax(axis=1))
    if tuple(grid.shape[axis] for axis in order) != onto.shape:
        return None
    flips = tuple(axis for axis in range(ndim) if turn[axis].sum() < 0)
    exact = np.zeros((3, ndim + 1))
    exact[:ndim, :ndim] = turn
    for axis in flips:
        exact[axis, ndim] = onto.shape[axis] - 1
    drift = np.abs(between[:3, [*range(ndim), 3]] - exact)
    corner = np.array([*(length - 1 for length in grid.shape), 1.0])
    return Turn(order, flips) if np.all(drift @ corner <= SAME_VOXEL + ROUNDING) else None


def require_same_grid(name: str, path: Path, grid: Grid, other_path: Path, other: Grid) -> Turn:
    """Return how the array of the other file is turned onto the grid of the first.

    Raises:
        GridError: they do not hold the same voxels; the message says what differs.
    """
    turn = turn_onto(other, grid)
    if turn is None:
        first, second = describe_difference(grid, other)
        raise GridError(
            f"{name}: different grids: {path} has {first}; {other_path} has {second}",
            hint="resample one onto the other first",
        )
    return turn


def describe_difference(grid: Grid, other: Grid) -> tuple[str, str]:
    """Return what differs between two grids, in words for each: shape, spacing, axes, origin.

    The other's axes are taken in the order and direction in which they are most like the first's.
    """
    if grid.ndim != other.ndim:
        return f"{grid.ndim} axes", f"{other.ndim} axes"
    alike = _most_alike(grid, other)
    lengths = np.array(grid.shape) - 1
    spacings = np.array([grid.spacing_mm, alike.spacing_mm])
    axes = [one.affine[:3, : grid.ndim] / one.spacing_mm for one in (grid, alike)]
    apart = np.linalg.norm(axes[1] - axes[0], axis=0)
    origins = [one.affine[:3, 3] for one in (grid, alike)]
    distance = float(np.linalg.norm(origins[1] - origins[0]))
    found = []
    if grid.shape != alike.shape:
        found.append([f"{shape_text(one.shape)} voxels" for one in (grid, alike)])
    if np.any(np.abs(spacings[1] - spacings[0]) * lengths > SAME_VOXEL * spacings[0]):
        found.append([f"spacing {_lengths(spacing)} mm" for spacing in spacings])
    if np.any(apart * lengths > SAME_VOXEL):
        degrees = float(np.degrees(2 * np.arcsin(np.clip(apart / 2, 0, 1)).max()))
        found.append([_axes(grid), f"{_axes(alike)}, turned by {degrees:.2g} degrees"])
    if distance > SAME_VOXEL * min(grid.spacing_mm):
        places = [f"origin ({_numbers(origin)}) mm" for origin in origins]
        found.append([places[0], f"{places[1]}, {distance:.4g} mm away"])
    if not found:
        drift = "differences that add up to more than a hundredth of a voxel"
        found.append([grid.describe(), f"{alike.describe()}, {drift}"])
    first, second = (", ".join(words) for words in zip(*found, strict=True))
    return first, second


def _most_alike(grid: Grid, other: Grid) -> Grid:
    """Return a grid with its axes in the order and direction most like those of another."""
    ndim = grid.ndim
    axes = [one.affine[:3, :ndim] / one.spacing_mm for one in (grid, other)]
    cosines = axes[0].T @ axes[1]
    order = [int(axis) for axis in np.abs(cosines).argmax(axis=1)]
    if sorted(order) != list(range(ndim)):
        return other
    alike = other.affine.copy()
    alike[:, :ndim] = other.affine[:, order]
    turned = Grid(tuple(other.shape[axis] for axis in order), alike)
    for axis in range(ndim):
        if cosines[axis, order[axis]] < 0:
            turned = turned.flipped(axis)
    return turned


def _axes(grid: Grid) -> str:
    directions = (grid.affine[:3, : grid.ndim] / grid.spacing_mm).T
    return f"axes along {', '.join(f'({_numbers(direction)})' for direction in directions)}"


def _lengths(values: np.ndarray) -> str:
    return "x".join(f"{value:.7g}" for value in values)


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value + 0.0:.6g}" for value in np.round(values, 6))
