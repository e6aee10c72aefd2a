"""One image file, NIfTI or picture: its numbers as they are stored, its grid, its header."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from esegeta.axes import Shape
from esegeta.errors import DataError
from esegeta.volume.formats import is_picture
from esegeta.volume.grid import Grid
from esegeta.volume.nifti import grid_of, header_bytes, open_nifti, read_array
from esegeta.volume.picture import (
    PictureAxes,
    label_channels,
    picture_channels,
    picture_grid,
    read_picture,
    read_picture_labels,
)


class ReadingWarning(UserWarning):
    """What was done to the values of a file as they were read; a run takes it as a note."""


@dataclass(frozen=True)
class Reading:
    """What a network takes, by which files are read.

    Args:
        num_channels: input channels; tells a 2D image with trailing channels from a 3D one.
        network_ndim: 2 or 3.
        nan_to_zero: replace NaN and Inf by zero instead of refusing them.
        channels: names of the channels, or empty.
        picture_axes: whether pictures are rows x columns (`yx`) or columns x rows (`xy`).
    """

    num_channels: int
    network_ndim: int
    nan_to_zero: bool = False
    channels: tuple[str, ...] = ()
    picture_axes: PictureAxes = field(default="yx")


@dataclass(frozen=True, eq=False)
class ImageFile:
    """What an image file holds.

    Args:
        array: `C *S`, of the type that holds it exactly.
        grid: of its voxels.
        header: as it stands in a NIfTI file.
    """

    array: np.ndarray
    grid: Grid
    header: bytes | None


def read_header(path: Path, reading: Reading) -> tuple[Grid, int]:
    """Return the grid and the number of channels of an image, without reading its voxels."""
    if is_picture(path):
        return picture_grid(path, reading.picture_axes), picture_channels(path)
    image = open_nifti(path)
    spatial, num_channels = split_channels(tuple(image.shape), path, reading)
    return grid_of(image, path, len(spatial)), num_channels


def read_label_header(path: Path, reading: Reading) -> tuple[Grid, int]:
    """Return the grid and the number of channels of a label map, without reading its voxels."""
    if is_picture(path):
        return picture_grid(path, reading.picture_axes), label_channels(path)
    return read_header(path, reading)


def read_file(path: Path, reading: Reading) -> ImageFile:
    """Read an image."""
    if is_picture(path):
        array = read_picture(path, reading.picture_axes)
        return _picture_file(array, path, reading)
    image = open_nifti(path)
    spatial, num_channels = split_channels(tuple(image.shape), path, reading)
    array = read_array(image, path).reshape(*spatial, num_channels)
    return ImageFile(
        np.moveaxis(array, -1, 0), grid_of(image, path, len(spatial)), header_bytes(image)
    )


def read_label_file(path: Path, reading: Reading) -> ImageFile:
    """Read a label map."""
    if not is_picture(path):
        return read_file(path, reading)
    return _picture_file(read_picture_labels(path, reading.picture_axes), path, reading)


def _picture_file(array: np.ndarray, path: Path, reading: Reading) -> ImageFile:
    return ImageFile(np.moveaxis(array, -1, 0), picture_grid(path, reading.picture_axes), None)


def split_channels(shape: Shape, path: Path, reading: Reading) -> tuple[Shape, int]:
    """Tell the spatial axes of a NIfTI array from a trailing channel axis.

    A 3D array is a 2D image with channels only if the network is 2D and takes that many.

    Raises:
        DataError: the array has no such reading.
    """
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 5 and shape[3] == 1:
        return shape[:3], shape[4]
    if len(shape) == 4:
        return shape[:3], shape[3]
    trailing = reading.network_ndim == 2 and reading.num_channels > 1
    if len(shape) == 3 and trailing and shape[2] == reading.num_channels:
        return shape[:2], shape[2]
    if len(shape) in (2, 3):
        return shape, 1
    raise DataError(
        f"{path}: an array of shape {shape} is not an image",
        hint="esegeta reads 2D and 3D images with a trailing channel axis",
    )


def as_floats(array: np.ndarray) -> np.ndarray:
    """Return numbers as float32 where it holds every one of them exactly, else as float64."""
    with np.errstate(over="ignore"):
        single = array.astype(np.float32, copy=False)
    if np.can_cast(array.dtype, np.float32):
        return single
    double = array.astype(np.float64, copy=False)
    return single if np.array_equal(single, double, equal_nan=True) else double
