"""The image and the label map of a case: one file a channel, or one with trailing channels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap
from esegeta.errors import DataError
from esegeta.volume.alignment import require_same_grid, turn_onto
from esegeta.volume.case import Case, check_case
from esegeta.volume.cropping import Crop, CropOrPad, crop_of, crop_or_pad_of
from esegeta.volume.files import ImageFile, as_floats, not_finite, read_file, read_header
from esegeta.volume.grid import Grid
from esegeta.volume.intensity import Intensity, IntensityStep, intensity_of
from esegeta.volume.kinds import is_picture
from esegeta.volume.label_maps import read_label_map
from esegeta.volume.picture import PictureAxes
from esegeta.volume.preprocess import Preprocess
from esegeta.volume.reading import Align, Layout, Reading, ReadingWarning
from esegeta.volume.resampling import SeparateAxis, square_affine
from esegeta.volume.volume import Source, Volume
from esegeta.volume.way_back import resample

WrittenStep = str | Mapping[str, Any] | IntensityStep


def read_case(
    case: Case, preprocess: Preprocess, reading: Reading
) -> tuple[Volume, LabelMap | None]:
    """Read and preprocess the image and the label map of a case.

    Returns:
        The volume, and the label map as integers `*S` on the volume's grid, or None.

    Raises:
        DataError: a file cannot be read, or its values are not finite or too large for float32.
        GridError: the files of the case lie on different grids.
    """
    check_case(case, reading)
    volume = _preprocessed(read_volume(case, reading), preprocess)
    if case.label is None:
        return volume, None
    return volume, read_label_map(case.label, volume)


def read_beside(
    paths: Sequence[Path], volume: Volume, preprocess: Preprocess, reading: Reading
) -> Volume:
    """Read another image onto the grid of a volume, such as a baseline of it.

    Raises:
        GridError: it does not hold the voxels of the volume's file.
    """
    case = Case(volume.name, tuple(paths), spacing_mm=volume.source.layout.spacing_mm)
    check_case(case, reading)
    other, source = read_volume(case, reading), volume.source
    image = source.paths[0] if source.paths else Path("the image")
    turn = require_same_grid(volume.name, image, source.grid, case.images[0], other.grid)
    data = torch.from_numpy(np.ascontiguousarray(turn(other.data.numpy())))
    return _preprocessed(
        Volume(data, source.grid, source, name=volume.name), preprocess, like=volume
    )


def read_volume(case: Case, reading: Reading) -> Volume:
    """Read the image of a case on its own grid, channels first, without preprocessing.

    Its data is float64 where float32 would not hold every value exactly.
    """
    readings = case.readings(reading)
    files = [read_file(path, one) for path, one in zip(case.images, readings, strict=True)]
    grid = files[0].grid
    arrays = [as_floats(files[0].array)]
    for path, file in zip(case.images[1:], files[1:], strict=True):
        arrays.append(_channel(case, grid, path, file, reading))
    data = torch.from_numpy(np.ascontiguousarray(np.concatenate(arrays)))
    source = Source(
        grid,
        files[0].header,
        case.images,
        picture_axes=reading.picture_axes if is_picture(case.images[0]) else None,
        nan_to_zero=reading.nan_to_zero,
        layout=readings[0].layout,
        series=readings[0].series,
    )
    data = _finite(data, case, source)
    return Volume(data, grid, source, name=case.name, channels=reading.channels)


def _channel(case: Case, grid: Grid, path: Path, file: ImageFile, reading: Reading) -> np.ndarray:
    """Return a further channel on the grid of the first: turned exactly, or resampled if asked."""
    turn = turn_onto(file.grid, grid)
    if turn is not None or reading.align is None:
        turn = turn or require_same_grid(case.name, case.images[0], grid, path, file.grid)
        return as_floats(turn(file.array))
    data = torch.from_numpy(np.ascontiguousarray(as_floats(file.array)))
    moved = resample(data, file.grid, grid, resampling="bilinear").numpy()
    beyond = _share_beyond(file.grid, grid)
    edge = f"; {beyond:.2g}% of the voxels lie beyond it and take its border's values" * (
        beyond > 0
    )
    warnings.warn(
        f"{case.name}: {path} was resampled onto the grid of {case.images[0]}, linearly{edge}",
        ReadingWarning,
        stacklevel=2,
    )
    return moved


def _share_beyond(grid: Grid, onto: Grid) -> float:
    """Return how many percent of the voxels of `onto` have their centre outside a grid."""
    between = square_affine(grid)
    between = np.linalg.inv(between) @ square_affine(onto)
    indices = np.indices(onto.shape).reshape(onto.ndim, -1)
    places = between[:-1, :-1] @ indices + between[:-1, -1:]
    last = np.array(grid.shape)[:, None] - 0.5
    return float(100 * np.mean(((places < -0.5) | (places > last)).any(axis=0)))


def _preprocessed(volume: Volume, preprocess: Preprocess, *, like: Volume | None = None) -> Volume:
    """Return the volume as the network takes it, in float32.

    Raises:
        DataError: a value is not finite afterwards.
    """
    result = preprocess(volume, like=like)
    bad = ~torch.isfinite(result.data)
    if bool(bad.any()):
        raise DataError(
            f"{volume.name}: {int(bad.sum())} voxels are NaN or Inf after preprocessing",
            hint="choose intensity steps that are defined for the image's values",
        )
    return result


def load_volume(
    path: str | Path | Sequence[str | Path],
    *,
    orientation: str | None = None,
    spacing_mm: Sequence[float | None] | None = None,
    window_hu: tuple[float, float] | None = None,
    intensity: Intensity | str | Mapping[str, Any] | Sequence[WrittenStep] | None = None,
    picture_axes: PictureAxes = "yx",
    nan_to_zero: bool = False,
    name: str | None = None,
    order: int = 1,
    separate_axis: SeparateAxis = False,
    crop: str | Mapping[str, Any] | Crop | None = None,
    crop_or_pad: Sequence[int] | Mapping[str, Any] | CropOrPad | None = None,
    transpose: Sequence[int] | None = None,
    channels_axis: int | None = None,
    file_spacing_mm: Sequence[float] | None = None,
    series: str | Sequence[str] = (),
    align: Align | None = None,
) -> Volume:
    """Load an image for a network, of any format that is read; one path, or one per channel.

    Args:
        path: one file or DICOM folder, or a list with one per channel.
        orientation: axis codes such as `RAS`; None keeps the file's.
        spacing_mm: voxel size in mm to resample to; None keeps the file's, also on one axis.
        window_hu: shorthand for `intensity=Intensity("window", low, high)`.
        intensity: a rule such as `zscore`, or steps as a config writes them.
        picture_axes: for pictures: `yx`, rows x columns as torchvision, Pillow and nnU-Net have
            them, or `xy`, columns x rows as MONAI's readers have them.
        nan_to_zero: replace NaN and Inf by 0, here and in label maps, instead of refusing them.
        name: the case; the file's name by default.
        order: order of the interpolation: 0, 1, or 3 for nnU-Net's splines.
        separate_axis: `auto` resamples a coarse axis by itself, as nnU-Net.
        crop: `foreground`, or `{above: 0, margin: 2, when: ...}`.
        crop_or_pad: lengths of the axes, or `{size: ..., value: ..., when: ...}`.
        transpose: order of the axes for the network; the two lists of lengths are in this order.
        channels_axis: the axis of a 4D array that holds the channels; the last by default.
        file_spacing_mm: spacing in mm of a TIFF stack or .npz that does not state its own.
        series: series of a DICOM folder with several: UID or description, or a list.
        align: `first` resamples channels on other grids onto that of the first, linearly.

    Raises:
        ConfigError: an argument is not known, or no number that it may be.
        DataError: a file is missing, cannot be read, or holds NaN or Inf.
        GridError: channels lie on different grids.
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
    case = Case(
        name or images[0].name.split(".")[0],
        images,
        spacing_mm=tuple(file_spacing_mm) if file_spacing_mm else None,
        series=(series,) if isinstance(series, str) else tuple(series),
    )
    probe = Reading(
        len(images),
        3,
        nan_to_zero=nan_to_zero,
        picture_axes=picture_axes,
        layout=Layout(channels_axis),
        align=align,
    )
    grid, num_channels = read_header(images[0], case.readings(probe)[0])
    reading = replace(probe, num_channels=max(num_channels, len(images)), network_ndim=grid.ndim)
    check_case(case, reading)
    return _preprocessed(read_volume(case, reading), preprocess)


def _lengths(given: Sequence[float | None] | None) -> tuple[float | None, ...] | None:
    if not given:
        return None
    return tuple(None if length is None else float(length) for length in given)


def _finite(data: Tensor, case: Case, source: Source) -> Tensor:
    bad = ~torch.isfinite(data)
    if not bool(bad.any()):
        return data
    if source.nan_to_zero:
        return torch.where(bad, torch.zeros_like(data), data)
    path = case.images[min(int(bad.nonzero()[0, 0]), len(case.images) - 1)]
    raise not_finite(bad.numpy(), path, source)
