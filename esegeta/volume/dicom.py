"""DICOM: folders of slices, and files of one or several frames, where ITK puts them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from esegeta.errors import DataError, suggest
from esegeta.volume.dicom_frames import frames_of, rescaled
from esegeta.volume.dicom_header import (
    SEGMENTATIONS,
    DicomHeader,
    dicom_header,
    dicom_reader,
    storage_class,
)
from esegeta.volume.formats import require_image_file
from esegeta.volume.itk import array_of, itk_faults
from esegeta.volume.kinds import is_dicom_file
from esegeta.volume.members import files_in
from esegeta.volume.slices import refusal_of_axes, stack_slices
from esegeta.volume.stored import Stored, affine_from_itk

ONE_SERIES = "give the case `series:` with the UID or the description of the right one"


def open_series(folder: Path, series: str = "") -> Stored:
    """Open the DICOM series of a folder, reading headers only.

    Args:
        folder: holds the files; those that are not images are passed over.
        series: UID or description, where there are several.

    Raises:
        DataError: there is none, or it is not clear which one is meant; slices are missing,
            duplicated, of several orientations, or tilted.
    """
    headers = chosen_series(folder, series)
    if len(headers) == 1:
        return _opened(headers[0])
    frames = [header for header in headers if header.num_frames > 1]
    if frames:
        names = ", ".join(header.path.name for header in frames[:3])
        raise DataError(
            f"{folder}: {len(frames)} files of several frames in one series: {names}",
            hint="give the right file as the image",
        )
    without = [header.path.name for header in headers if not header.has_place]
    if without:
        raise DataError(
            f"{folder}: {len(without)} of {len(headers)} slices do not say their position, such "
            f"as {without[0]}",
            hint="photographs of screens (secondary capture) are not a volume",
        )
    for header in headers:
        _require_right_angles(header)
    stacked = stack_slices([header.place for header in headers], 0.0, folder)
    ordered = [headers[index] for index in stacked.order]
    if len({header.components for header in ordered}) > 1:
        raise DataError(f"{folder}: slices in colour mixed with grey ones", hint=ONE_SERIES)
    columns, rows, _ = ordered[0].size
    components = ordered[0].components
    shape = (columns, rows, len(ordered), *([components] if components > 1 else []))

    def load() -> np.ndarray:
        return np.concatenate([_pixels(header) for header in ordered], axis=2)

    channels_axis = 3 if components > 1 else None
    return Stored(shape, stacked.affine, load, channels_axis=channels_axis)


def open_dicom(path: Path) -> Stored:
    """Open one DICOM file: a slice, or a volume of several frames, reading its header only.

    Raises:
        MissingFileError: there is no such file.
        DataError: it holds no image, or its frames are not a volume.
    """
    require_image_file(path)
    header = dicom_header(path)
    if header is None:
        segmentation = " (a segmentation; it can be a label map)" * is_segmentation(path)
        raise DataError(
            f"{path}: a DICOM file without an image{segmentation}", hint="name another file"
        )
    return _opened(header)


def _require_right_angles(header: DicomHeader) -> None:
    """Refuse a file whose axes ITK could not take: it would lie along those of the patient."""
    if header.has_odd_axes:
        raise refusal_of_axes(header.path)


def _opened(header: DicomHeader) -> Stored:
    _require_right_angles(header)
    frames = frames_of(header) if header.num_frames > 1 else None
    order: Sequence[int] = range(header.num_frames)
    if frames is not None:
        stacked = stack_slices(frames.places, header.spacing_mm[2], header.path)
        order, affine = stacked.order, stacked.affine
    else:
        direction = np.array(header.direction).reshape(3, 3)
        affine = affine_from_itk(header.spacing_mm, header.origin_mm, direction, place=header.path)
    components = header.components
    shape = (*header.size, components) if components > 1 else header.size

    def load() -> np.ndarray:
        array = _pixels(header)
        if frames is not None and frames.rescale is not None:
            array = rescaled(array, frames.rescale)
        return array[:, :, list(order)]

    return Stored(shape, affine, load, channels_axis=3 if components > 1 else None)


def _pixels(header: DicomHeader) -> np.ndarray:
    """Return the pixels of a file as columns x rows x frames, slope and intercept applied."""
    reader = dicom_reader(header.path)
    with itk_faults(header.path):
        pixels: np.ndarray = array_of(reader.Execute())
    return pixels


def is_segmentation(path: Path) -> bool:
    """Tell whether a file is a DICOM segmentation."""

    return path.is_file() and storage_class(path) in SEGMENTATIONS


def segmentation_in(path: Path) -> Path | None:
    """Return the DICOM segmentation in a file, or the one that is a folder's only DICOM object.

    Raises:
        DataError: a folder holds several, and nothing else.
    """
    if not path.is_dir():
        return path if is_dicom_file(path) and is_segmentation(path) else None
    found = []
    for file in files_in(path):
        if not is_dicom_file(file):
            continue
        if not is_segmentation(file):
            return None
        found.append(file)
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:3])
        raise DataError(
            f"{path}: holds {len(found)} segmentations: {names}", hint="name the right file"
        )
    return found[0] if found else None


def dicom_volumes(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that are volumes by themselves, if all its images are.

    Empty where a file cannot be read; reading the folder reports that.
    """
    try:
        headers = [header for group in series_in(folder).values() for header in group]
    except DataError:
        return ()
    if not all(header.num_frames > 1 for header in headers):
        return ()
    return tuple(sorted(header.path for header in headers))


def chosen_series(folder: Path, series: str) -> list[DicomHeader]:
    """Return the headers of the one series of a folder, or of the one that is named.

    Raises:
        DataError: there is none, or several and none is named, or none of that name.
    """
    groups = series_in(folder)
    if not groups:
        raise DataError(
            f"{folder}: the folder holds no DICOM image",
            hint="give the folder of a DICOM series, or an image file",
        )
    if not series:
        if len(groups) == 1:
            return next(iter(groups.values()))
        raise DataError(f"{folder}: holds {len(groups)} series: {_listed(groups)}", hint=ONE_SERIES)
    if series in groups:
        return groups[series]
    described = [
        headers for headers in groups.values() if headers[0].description.lower() == series.lower()
    ]
    if len(described) == 1:
        return described[0]
    if described:
        raise DataError(
            f'{folder}: {len(described)} series are called "{series}": {_listed(groups)}',
            hint="name the right one by its UID",
        )
    names = [headers[0].description for headers in groups.values()]
    raise DataError(
        f'{folder}: no series "{series}"; it holds {_listed(groups)}',
        hint=suggest(series, [*names, *groups]),
    )


def series_in(folder: Path) -> dict[str, list[DicomHeader]]:
    """Return the headers of the DICOM images in a folder by the UID of their series."""
    groups: dict[str, list[DicomHeader]] = {}
    for path in files_in(folder):
        if not is_dicom_file(path):
            continue
        header = dicom_header(path)
        if header is not None:
            groups.setdefault(header.series, []).append(header)
    return groups


def _listed(groups: dict[str, list[DicomHeader]]) -> str:
    return "; ".join(
        f'{uid} "{headers[0].description}" ({_size(headers)})' for uid, headers in groups.items()
    )


def _size(headers: Sequence[DicomHeader]) -> str:
    columns, rows, _ = headers[0].size
    count = sum(header.num_frames for header in headers)
    return f"{count} slice{'s' * (count != 1)} of {columns}x{rows}"
