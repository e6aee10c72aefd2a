"""Images and label maps from files: one file a channel, or one file with trailing channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Shape
from esegeta.errors import DataError, GridError
from esegeta.volume.cropping import Crop, CropOrPad, crop_of, crop_or_pad_of
from esegeta.volume.grid import Grid
from esegeta.volume.intensity import Intensity, IntensityStep, intensity_of
from esegeta.volume.nifti import grid_of, header_bytes, open_nifti, read_array
from esegeta.volume.picture import is_picture, picture_grid, picture_shape, read_picture
from esegeta.volume.preprocess import Preprocess
from esegeta.volume.resampling import SeparateAxis
from esegeta.volume.volume import Source, Volume

WrittenStep = str | Mapping[str, Any] | IntensityStep


@dataclass(frozen=True)
class Case:
    """The files of one patient.

    Args:
        name: names the case's folder in the output.
        images: one path, or one a channel.
        label: the ground truth, on the same grid, or None.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None


@dataclass(frozen=True)
class Reading:
    """What a network takes, by which files are read.

    Args:
        num_channels: input channels; tells a 2D image with trailing channels from a 3D one.
        network_ndim: 2 or 3.
        nan_to_zero: replace NaN and Inf by zero instead of refusing them.
        channels: names of the channels, or empty.
    """

    num_channels: int
    network_ndim: int
    nan_to_zero: bool = False
    channels: tuple[str, ...] = ()


def read_header(path: Path, reading: Reading) -> tuple[Grid, int]:
    """Return the grid and the number of channels of an image, without reading its voxels."""
    if is_picture(path):
        shape = picture_shape(path)
        return picture_grid(shape), (shape[2] if len(shape) == 3 else 1)
    image = open_nifti(path)
    spatial, num_channels = split_channels(tuple(image.shape), path, reading)
    return grid_of(image, len(spatial)), num_channels


def check_case(case: Case, reading: Reading) -> Grid:
    """Check by the headers that a case can be read, and return its grid.

    Raises:
        DataError: a file is missing or unreadable, or the channels are too many or too few.
        GridError: images or label of the case lie on different grids.
    """
    headers = [read_header(path, reading) for path in case.images]
    grid = headers[0][0]
    found = sum(count for _, count in headers)
    if len(headers) > 1 and found != len(headers):
        raise DataError(f"{case.name}: several images of one case must have one channel each")
    if found != reading.num_channels:
        raise DataError(
            f"{case.name}: {found} channel{'s' * (found != 1)} in "
            f"{', '.join(str(path) for path in case.images)}, "
            f"but the network takes {reading.num_channels}",
            hint="list one image per channel: image: [t1.nii.gz, t2.nii.gz]",
        )
    for path, (other, _) in zip(case.images[1:], headers[1:], strict=True):
        require_same_grid(case.name, case.images[0], grid, path, other)
    if grid.ndim < reading.network_ndim:
        raise DataError(f"{case.name}: a {grid.ndim}D image for a {reading.network_ndim}D network")
    if case.label is not None:
        label_grid, num_channels = read_header(case.label, Reading(1, grid.ndim))
        if num_channels != 1:
            raise DataError(
                f"{case.name}: the label map {case.label} has {num_channels} channels",
                hint="give one map that holds the integer of the label at each voxel",
            )
        require_same_grid(case.name, case.images[0], grid, case.label, label_grid)
    return grid


def read_case(
    case: Case, preprocess: Preprocess, reading: Reading, *, like: Volume | None = None
) -> tuple[Volume, Tensor | None]:
    """Read and preprocess the image and the label map of a case.

    Args:
        case: the files.
        preprocess: what happens to the image; its label map goes the same way.
        reading: what the network takes.
        like: an image of the same grid that was preprocessed so, whose boxes are taken.

    Returns:
        The volume, and the label map as integers `*S` on the volume's grid, or None.
    """
    check_case(case, reading)
    volume = preprocess(read_volume(case, reading), like=like)
    if case.label is None:
        return volume, None
    return volume, read_label_map(case.label, volume)


def read_volume(case: Case, reading: Reading) -> Volume:
    """Read the image of a case on its own grid, channels first, without preprocessing."""
    files = [_read_file(path, reading) for path in case.images]
    data = torch.from_numpy(np.ascontiguousarray(np.concatenate([file.array for file in files])))
    grid = files[0].grid
    data = _finite(data, case, grid, reading.nan_to_zero)
    source = Source(grid, files[0].header, case.images)
    return Volume(data, grid, source, name=case.name, channels=reading.channels)


def read_label_map(path: Path, volume: Volume, preprocess: Preprocess | None = None) -> LabelMap:
    """Read a label map and bring it onto the volume's grid, nearest neighbour.

    It goes the way that the image went; `preprocess` is asked only where the volume went none.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not lie on the grid of the volume's file.
    """
    file = _read_file(path, Reading(1, volume.ndim))
    require_same_grid(volume.name, Path("the image"), volume.source.grid, path, file.grid)
    array = torch.from_numpy(file.array)
    if not bool((array.isfinite() & (array == array.round())).all()):
        raise DataError(f"{path}: a label map must hold integers", hint="is it a probability map?")
    route = volume.route
    if not route.moves and preprocess is not None:
        route = preprocess.route(file.grid)
    moved, _ = route.move(array, file.grid, resampling="nearest")
    return moved[0].round().long()


def load_volume(
    path: str | Path | Sequence[str | Path],
    *,
    orientation: str | None = None,
    spacing_mm: Sequence[float | None] | None = None,
    window_hu: tuple[float, float] | None = None,
    intensity: Intensity | str | Mapping[str, Any] | Sequence[WrittenStep] | None = None,
    name: str | None = None,
    order: int = 1,
    separate_axis: SeparateAxis = False,
    crop: str | Mapping[str, Any] | Crop | None = None,
    crop_or_pad: Sequence[int] | Mapping[str, Any] | CropOrPad | None = None,
    transpose: Sequence[int] | None = None,
) -> Volume:
    """Load an image for a network: NIfTI, PNG or JPEG; one path, or one a channel.

    Args:
        path: one file, or a list with one file a channel.
        orientation: axis codes such as `RAS`; None keeps the file's.
        spacing_mm: voxel size to resample to; None keeps the file's, also on one axis.
        window_hu: shorthand for `intensity=Intensity("window", low, high)`.
        intensity: a rule such as `zscore`, or steps as a config writes them.
        name: the case; the file's name by default.
        order: of the interpolation: 0, 1, or 3 for nnU-Net's splines.
        separate_axis: `auto` resamples a coarse axis by itself, as nnU-Net.
        crop: `foreground`, or `{above: 0, margin: 2, when: ...}`.
        crop_or_pad: lengths of the axes, or `{size: ..., value: ..., when: ...}`.
        transpose: order of the axes for the network; the two lists of lengths are in this order.
    """
    paths = (path,) if isinstance(path, (str, Path)) else tuple(path)
    images = tuple(Path(item) for item in paths)
    rule = Intensity("window", *window_hu) if window_hu else intensity_of(intensity or Intensity())
    spacing = _lengths(spacing_mm)
    preprocess = Preprocess(
        orientation,
        spacing,
        rule,
        order=order,
        separate_axis=separate_axis,
        crop=crop_of(crop),
        crop_or_pad=crop_or_pad_of(crop_or_pad),
        transpose=tuple(transpose) if transpose else None,
    )
    case = Case(name or images[0].name.split(".")[0], images)
    probe = Reading(len(images), 3)
    grid, num_channels = read_header(images[0], probe)
    reading = Reading(max(num_channels, len(images)), grid.ndim)
    check_case(case, reading)
    return preprocess(read_volume(case, reading))


def _lengths(given: Sequence[float | None] | None) -> tuple[float | None, ...] | None:
    if not given:
        return None
    return tuple(None if length is None else float(length) for length in given)


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


@dataclass(frozen=True, eq=False)
class _File:
    """What an image file holds.

    Args:
        array: `C *S`.
        grid: of its voxels.
        header: as it stands in a NIfTI file.
    """

    array: np.ndarray
    grid: Grid
    header: bytes | None


def _read_file(path: Path, reading: Reading) -> _File:
    if is_picture(path):
        array, header = read_picture(path), None
        grid = picture_grid(array.shape)
        num_channels = array.shape[2] if array.ndim == 3 else 1
    else:
        image = open_nifti(path)
        spatial, num_channels = split_channels(tuple(image.shape), path, reading)
        array, grid, header = (
            read_array(image, path),
            grid_of(image, len(spatial)),
            header_bytes(image),
        )
    return _File(np.moveaxis(array.reshape(*grid.shape, num_channels), -1, 0), grid, header)


def _finite(data: Tensor, case: Case, grid: Grid, nan_to_zero: bool) -> Tensor:
    bad = ~torch.isfinite(data)
    if not bool(bad.any()):
        return data
    if nan_to_zero:
        return torch.where(bad, torch.zeros_like(data), data)
    channel, *index = (int(value) for value in bad.nonzero()[0])
    place = ", ".join(f"{value:.1f}" for value in grid.to_mm(index))
    path = case.images[min(channel, len(case.images) - 1)]
    raise DataError(
        f"{path}: {int(bad.sum())} voxels are NaN or Inf, the first at voxel {tuple(index)} "
        f"= ({place}) mm of channel {channel}",
        hint="fix the image, or allow it with `data: {nan: zero}`",
    )


def require_same_grid(name: str, path: Path, grid: Grid, other_path: Path, other: Grid) -> None:
    """Refuse two files of a case that do not lie on one grid.

    Raises:
        GridError: with both grids.
    """
    if not grid.same_as(other):
        raise GridError(
            f"{name}: different grids: {path} has {grid.describe()}; "
            f"{other_path} has {other.describe()}",
            hint="resample one onto the other first",
        )
