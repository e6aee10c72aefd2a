"""The grid of an image: where its voxels lie in the scanner's space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from esegeta.axes import Shape

SAME_GRID_TOLERANCE_MM = 1e-3
SAME_GRID_SHARE = 1e-2
"""Grids of one image differ by no more than the first, in mm, or, where voxels are smaller than
0.1 mm, by no more than the second, as a fraction of the spacing."""
RIGHT_ANGLE_TOLERANCE = 1e-3
"""Cosine between two axes; distances by spacings are wrong by no more than this fraction."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A shape and the affine that takes voxel indices to RAS millimetres.

        mm = affine[:3, :3] @ (i, j, k) + affine[:3, 3]

    Args:
        shape: lengths of the two or three spatial axes, in voxels.
        affine: float64, 4 x 4, also for 2D images (whose third index is 0).
    """

    shape: Shape
    affine: np.ndarray

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.shape)

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        """Distance between neighbouring voxels along each axis."""
        lengths = np.linalg.norm(self.affine[:3, : self.ndim], axis=0)
        return tuple(float(length) for length in lengths)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel; a 2D image takes its slice thickness from the affine."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000.0)

    @property
    def runs_to(self) -> str:
        """The side of the patient that each axis mostly runs to: letters of RAS and LPI."""
        columns = self.affine[:3, : self.ndim].T
        sides = [int(np.abs(column).argmax()) for column in columns]
        return "".join(
            "RAS"[side] if column[side] > 0 else "LPI"[side]
            for side, column in zip(sides, columns, strict=True)
        )

    @property
    def is_rectangular(self) -> bool:
        """Whether the axes are at right angles, so that spacings tell distances in mm."""
        axes = self.affine[:3, : self.ndim] / np.asarray(self.spacing_mm)
        return bool(np.all(np.abs(axes.T @ axes - np.eye(self.ndim)) < RIGHT_ANGLE_TOLERANCE))

    def to_mm(self, index: Sequence[float]) -> tuple[float, float, float]:
        """Return the RAS position of a (fractional) voxel index."""
        position = self.affine @ np.append(self._three(index), 1.0)
        return (float(position[0]), float(position[1]), float(position[2]))

    def to_index(self, position_mm: Sequence[float]) -> tuple[float, ...]:
        """Return the fractional voxel index of a RAS position."""
        index = np.linalg.inv(self.affine) @ np.append(self._three(position_mm), 1.0)
        return tuple(float(value) for value in index[: self.ndim])

    def same_as(self, other: Grid) -> bool:
        """Tell whether every voxel of one grid lies on the same voxel of the other."""
        if self.shape != other.shape:
            return False
        corner = np.append(self._three([length - 1 for length in self.shape]), 1.0)
        difference = self.affine - other.affine
        drift_mm = np.abs(difference[:3, :3]) @ corner[:3] + np.abs(difference[:3, 3])
        tolerance = min(SAME_GRID_TOLERANCE_MM, SAME_GRID_SHARE * min(self.spacing_mm))
        return bool(np.all(drift_mm < tolerance))

    def flipped(self, axis: int) -> Grid:
        """Return the grid of the same voxels, counted from the other end of an axis."""
        turn = np.eye(4)
        turn[axis, axis], turn[axis, 3] = -1.0, self.shape[axis] - 1
        return Grid(self.shape, self.affine @ turn)

    def cropped(self, box: Sequence[slice]) -> Grid:
        """Return the grid of the voxels in a box, each of whose sides has a start and a stop."""
        shift = np.eye(4)
        shift[: self.ndim, 3] = [part.start for part in box]
        return Grid(tuple(part.stop - part.start for part in box), self.affine @ shift)

    def describe(self) -> str:
        """Return shape, spacing and origin in one line, for error messages."""
        shape = "x".join(str(length) for length in self.shape)
        spacing = "x".join(f"{value:.4g}" for value in self.spacing_mm)
        origin = ", ".join(f"{value:.4g}" for value in self.affine[:3, 3])
        return f"{shape} voxels of {spacing} mm, origin ({origin}) mm"

    @staticmethod
    def _three(values: Sequence[float]) -> np.ndarray:
        padded = np.zeros(3)
        padded[: len(values)] = values
        return padded


def grid_of_spacing(shape: Shape, spacing_mm: Sequence[float]) -> Grid:
    """Return an axis-aligned grid with its first voxel at the origin."""
    affine = np.eye(4)
    for axis, spacing in enumerate(spacing_mm):
        affine[axis, axis] = spacing
    return Grid(tuple(shape), affine)
