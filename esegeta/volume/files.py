"""One image file of any format: its numbers as they are stored, its grid, its header."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from esegeta.axes import Shape
from esegeta.errors import DataError
from esegeta.volume.arrays import Wanted, open_arrays
from esegeta.volume.dicom import open_dicom, open_series, segmentation_in
from esegeta.volume.grid import Grid
from esegeta.volume.itk import open_itk
from esegeta.volume.kinds import is_picture, kind_of
from esegeta.volume.limits import require_size
from esegeta.volume.members import members
from esegeta.volume.nifti import (
    affine_of,
    header_bytes,
    holds_integers,
    open_nifti,
    read_array,
    require_whole,
)
from esegeta.volume.picture import (
    label_channels,
    picture_channels,
    picture_grid,
    read_picture,
    read_picture_labels,
)
from esegeta.volume.reading import Reading
from esegeta.volume.segmentation import completed, open_segmentation
from esegeta.volume.stacks import open_stack
from esegeta.volume.stored import Axes, Stored
from esegeta.volume.volume import Source

SMALL_PICTURE = 1 << 22
"""Bytes of a picture that is read whole beforehand."""

SLICER_SEGMENTATION = ".seg.nrrd"
"""3D Slicer may store the box around the segments alone."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """What an image file holds.

    Args:
        array: `C *S`, of the type that holds it exactly.
        grid: grid of its voxels.
        header: the NIfTI header as it stands in the file.
    """

    array: np.ndarray
    grid: Grid
    header: bytes | None


def read_header(path: Path, reading: Reading) -> tuple[Grid, int]:
    """Return the grid and the number of channels of an image, without reading its voxels."""
    if is_picture(path):
        return _sized(path, reading), picture_channels(path)
    return _header_of(_opened(path, reading, "image"), path, reading)


def read_label_header(path: Path, reading: Reading, onto: Grid) -> tuple[Grid, int]:
    """Return the grid and the number of channels of a label map of an image on the grid `onto`."""
    if is_picture(path):
        return _sized(path, reading), label_channels(path)
    return _header_of(_opened_labels(path, reading, onto), path, reading)


def read_file(path: Path, reading: Reading) -> ImageFile:
    """Read an image."""
    if is_picture(path):
        return _picture_file(read_picture(path, reading.picture_axes), path, reading)
    return _volume_file(_opened(path, reading, "image"), path, reading)


def read_label_file(path: Path, reading: Reading, onto: Grid) -> ImageFile:
    """Read a label map of an image on the grid `onto`."""
    if is_picture(path):
        return _picture_file(read_picture_labels(path, reading.picture_axes), path, reading)
    return _volume_file(_opened_labels(path, reading, onto), path, reading)


def _picture_file(array: np.ndarray, path: Path, reading: Reading) -> ImageFile:
    return ImageFile(np.moveaxis(array, -1, 0), picture_grid(path, reading.picture_axes), None)


def _volume_file(stored: Stored, path: Path, reading: Reading) -> ImageFile:
    axes = split_channels(stored, path, reading)
    array = axes.channels_first(stored.load())
    return ImageFile(array, Grid(axes.spatial, stored.affine), stored.header)


def require_whole_file(path: Path, reading: Reading) -> None:
    """Refuse an image that can be seen to be torn without much work, before it is its turn.

    Raises:
        DataError: it is torn.
    """
    if is_picture(path):
        if path.stat().st_size <= SMALL_PICTURE:
            read_picture(path, reading.picture_axes)
    else:
        _opened(path, reading, "image").check()


def num_bytes_of(path: Path) -> int:
    """Return how long the files of an image are together."""
    return sum(file.stat().st_size for file in members(path))


def require_numbers(path: Path, reading: Reading) -> None:
    """Read an image, and refuse what is torn or not finite; pictures were read before.

    Raises:
        DataError: it is torn, or holds NaN or Inf that are not read as zero.
    """
    if is_picture(path):
        return
    stored = _opened(path, reading, "image")
    if stored.is_integer:
        return
    file = _volume_file(stored, path, reading)
    if file.array.dtype.kind == "f" and not reading.nan_to_zero:
        bad = ~np.isfinite(file.array)
        if bad.any():
            raise not_finite(bad, path, Source(file.grid, file.header, (path,)))


def not_finite(bad: np.ndarray, path: Path, source: Source) -> DataError:
    """Return the error of an image in which some values, `C *S`, are not finite."""
    channel, *index = (int(place) for place in np.argwhere(bad)[0])
    return DataError(
        f"{path}: {int(bad.sum())} voxels are NaN or Inf, the first at "
        f"{source.describe_place(index)} of channel {channel}",
        hint="fix the image, or allow it with `data: {nan: zero}`",
    )


def _sized(path: Path, reading: Reading) -> Grid:
    grid = picture_grid(path, reading.picture_axes)
    require_size(grid.shape, str(path), reading.max_voxels)
    return grid


def _header_of(stored: Stored, path: Path, reading: Reading) -> tuple[Grid, int]:
    require_size(stored.shape, str(path), reading.max_voxels)
    axes = split_channels(stored, path, reading)
    return Grid(axes.spatial, stored.affine), axes.num_channels


def _opened_labels(path: Path, reading: Reading, onto: Grid) -> Stored:
    segmentation = segmentation_in(path)
    if segmentation is not None:
        return open_segmentation(segmentation, onto)
    stored = _opened(path, reading, "label")
    is_part = path.name.lower().endswith(SLICER_SEGMENTATION)
    return completed(stored, onto) if is_part else stored


def _opened(path: Path, reading: Reading, wanted: Wanted) -> Stored:
    """Open a file that is not a picture."""
    match kind_of(path):
        case "itk":
            return open_itk(path, reading.layout.channels_axis)
        case "arrays":
            return open_arrays(path, reading.layout, wanted)
        case "series":
            return open_series(path, reading.series)
        case "dicom":
            return open_dicom(path)
        case "stack":
            return open_stack(path, reading.layout)
        case _:
            image = open_nifti(path)
            return Stored(
                tuple(int(length) for length in image.shape),
                affine_of(image, path),
                lambda: read_array(image, path),
                header_bytes(image),
                check=lambda: require_whole(image, path),
                is_integer=holds_integers(image),
            )


def split_channels(stored: Stored, path: Path, reading: Reading) -> Axes:
    """Tell the spatial axes of an array from that of its channels.

    That is the axis which the format or the user names, else the last of four. A 3D array is a 2D
    image with channels only if the network is 2D and takes that many.

    Raises:
        DataError: the array cannot be read that way.
    """
    shape = stored.shape
    axis = stored.channels_axis
    if axis is None:
        axis = _told_axis(shape, path, reading)
    if axis is not None:
        spatial = tuple(length for place, length in enumerate(shape) if place != axis)
        if len(spatial) in (2, 3):
            return Axes(spatial, shape[axis], axis)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        return Axes(shape[:3], shape[4])
    if len(shape) == 4:
        return Axes(shape[:3], shape[3])
    trailing = reading.network_ndim == 2 and reading.num_channels > 1
    if len(shape) == 3 and trailing and shape[2] == reading.num_channels:
        return Axes(shape[:2], shape[2])
    if len(shape) in (2, 3):
        return Axes(shape, 1)
    raise DataError(
        f"{path}: an array of shape {shape} is not an image",
        hint="esegeta reads 2D and 3D images, with channels along the last axis or along "
        "`data.channels_axis`",
    )


def _told_axis(shape: Shape, path: Path, reading: Reading) -> int | None:
    """Return the channels' axis that the user names, for arrays that have one."""
    told = reading.layout.channels_axis
    if told is None:
        return None
    flat = len(shape) == 3 and reading.network_ndim == 2 and reading.num_channels > 1
    if len(shape) != 4 and not flat:
        return None
    if told >= len(shape):
        raise DataError(
            f"{path}: channels_axis is {told}, but its axes are 0 to {len(shape) - 1}",
            hint=f"its array is of shape {shape}",
        )
    return told if not flat or shape[told] == reading.num_channels else None


def as_floats(array: np.ndarray) -> np.ndarray:
    """Return numbers as float32 where it holds every one of them exactly, else as float64."""
    with np.errstate(over="ignore"):
        single = array.astype(np.float32, copy=False)
    if np.can_cast(array.dtype, np.float32):
        return single
    double = array.astype(np.float64, copy=False)
    return single if np.array_equal(single, double, equal_nan=True) else double
