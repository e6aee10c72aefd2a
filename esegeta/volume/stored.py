"""An image as it lies in a file of whatever format: its axes, its affine, and its numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esegeta.axes import Shape
from esegeta.errors import DataError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ITK and DICOM count to the left and to the back, NIfTI to the right and to the front."""


@dataclass(frozen=True, eq=False)
class Stored:
    """An opened image whose numbers are not read yet.

    Args:
        shape: shape of the array, channels included.
        affine: indices of the spatial axes, in their order, to RAS mm; 4 x 4.
        load: reads the array, of the type that holds its values exactly.
        header: the NIfTI header as it stands in the file.
        channels_axis: the axis of channels where the format says so.
        check: refuses what can be seen to be torn without reading the array.
        is_integer: whether its numbers are integers as they are stored; they are all finite.
    """

    shape: Shape
    affine: np.ndarray
    load: Callable[[], np.ndarray]
    header: bytes | None = None
    channels_axis: int | None = None
    check: Callable[[], None] = lambda: None
    is_integer: bool = False


@dataclass(frozen=True)
class Axes:
    """Which axes of an array are spatial and which holds the channels.

    Args:
        spatial: lengths of the spatial axes.
        num_channels: length of the channels' axis, or 1.
        channels_axis: index of the channels' axis; None where there is none, or where it is the
            last.
    """

    spatial: Shape
    num_channels: int
    channels_axis: int | None = None

    def channels_first(self, array: np.ndarray) -> np.ndarray:
        """Return an array of these axes as `C *S`."""
        axis = -1 if self.channels_axis is None else self.channels_axis
        if self.channels_axis is None:
            array = array.reshape(*self.spatial, self.num_channels)
        return np.moveaxis(array, axis, 0)


def affine_from_itk(
    spacing_mm: Sequence[float],
    origin_mm: Sequence[float],
    direction: np.ndarray,
    *,
    place: Path,
) -> np.ndarray:
    """Return the affine to RAS mm, 4 x 4, from what ITK says about an image of two or three axes.

        LPS = direction @ (spacing * index) + origin

    Raises:
        DataError: it is singular or not finite.
    """
    ndim = len(spacing_mm)
    affine = np.eye(4)
    affine[:ndim, :ndim] = direction * np.asarray(spacing_mm)
    affine[:ndim, 3] = origin_mm
    return require_regular(LPS_TO_RAS @ affine, place)


def require_regular(affine: np.ndarray, place: Path) -> np.ndarray:
    """Return an affine, without negative zeros.

    Raises:
        DataError: it is singular or not finite.
    """
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < np.finfo(float).tiny:
        raise DataError(
            f"{place}: its affine is singular or not finite",
            hint="write the image again with spacings above zero and axes that span space",
        )
    return affine + 0.0


def require_spacing(
    spacing_mm: tuple[float, ...] | None, ndim: int, place: Path
) -> tuple[float, ...]:
    """Return the known spacing of a file, one length per axis.

    Raises:
        DataError: none is known, or not one for each axis.
    """
    if spacing_mm is None:
        raise DataError(
            f"{place}: it does not say how large its voxels are",
            hint="give the case `spacing_mm: [x, y, z]`, or write the image as .nii.gz or .nrrd",
        )
    if len(spacing_mm) != ndim:
        raise DataError(
            f"{place}: spacing_mm has {len(spacing_mm)} lengths, the image {ndim} axes",
            hint=f"give {ndim} lengths, in the order of the array's axes",
        )
    return spacing_mm
