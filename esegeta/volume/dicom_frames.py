"""Frames of multi-frame DICOM: where each lies and how its numbers are scaled, through pydicom.

ITK takes frames in the order in which they are stored and scales all alike; the file states both
for each frame, in sequences that ITK does not hand out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.dicom_header import STORAGE, DicomHeader
from esegeta.volume.slices import Place

SECONDARY_CAPTURE = f"{STORAGE}.7"
INSTALL = "pip install 'esegeta[dicom]'"


@dataclass(frozen=True, eq=False)
class Frames:
    """What a file says about each frame.

    Args:
        places: position of each frame, in the order in which they are stored.
        rescale: slope and intercept of each, `F 2`; None where all are scaled alike.
    """

    places: tuple[Place, ...]
    rescale: np.ndarray | None


def frames_of(header: DicomHeader) -> Frames | None:
    """Return what a file says about each frame; None where it says nothing.

    Raises:
        DataError: pydicom is not installed and frames may lie in any order, or some frames do not
            say where they lie.
    """
    try:
        import pydicom
    except ImportError as error:
        if header.storage.startswith(SECONDARY_CAPTURE):
            return None  # ITK writes these itself, in order
        raise DataError(
            f"{header.path}: {header.num_frames} frames, whose order only pydicom can read",
            hint=INSTALL,
        ) from error
    content = pydicom.dcmread(header.path, stop_before_pixels=True)
    shared = _first(content, "SharedFunctionalGroupsSequence")
    each: Sequence[Any] = content.get("PerFrameFunctionalGroupsSequence") or ()
    if len(each) != header.num_frames:
        if header.has_place or header.storage.startswith(SECONDARY_CAPTURE):
            return None
        raise DataError(
            f"{header.path}: {header.num_frames} frames that do not say their position",
            hint="are they points in time, such as ultrasound? write one volume as .nii.gz",
        )
    places = tuple(_place(frame, shared, index, header) for index, frame in enumerate(each))
    return Frames(places, _rescale(each))


def _place(frame: Any, shared: Any, index: int, header: DicomHeader) -> Place:
    position = _value(frame, shared, "PlanePositionSequence", "ImagePositionPatient")
    turn = _value(frame, shared, "PlaneOrientationSequence", "ImageOrientationPatient")
    between = _value(frame, shared, "PixelMeasuresSequence", "PixelSpacing")
    if position is None or turn is None or between is None:
        raise DataError(
            f"{header.path}: frame {index} does not say its position",
            hint="write one volume as .nii.gz",
        )
    rows_mm, columns_mm = (float(length) for length in between)
    cosines = tuple(float(value) for value in turn)
    return Place(
        f"frame {index}",
        tuple(float(value) for value in position),
        cosines[:3],
        cosines[3:],
        (columns_mm, rows_mm),
        (header.size[0], header.size[1]),
    )


def _rescale(each: Sequence[Any]) -> np.ndarray | None:
    """Return slopes and intercepts of frames where they differ."""
    found = [_first(frame, "PixelValueTransformationSequence") for frame in each]
    if any(item is None for item in found):
        return None
    scales = [(float(one.RescaleSlope), float(one.RescaleIntercept)) for one in found]
    return np.array(scales) if len(set(scales)) > 1 else None


def rescaled(array: np.ndarray, rescale: np.ndarray) -> np.ndarray:
    """Scale each frame of `X Y F` as it says, where ITK has scaled all like the first.

    The stored values are integers, so that they can be recovered exactly.
    """
    slope, intercept = rescale[0]
    stored = np.rint((array.astype(np.float64) - intercept) / slope)
    scaled: np.ndarray = stored * rescale[:, 0] + rescale[:, 1]
    return scaled


def _value(frame: Any, shared: Any, sequence: str, name: str) -> Any:
    """Return what a frame says, or else what the file says about all frames."""
    for group in (frame, shared):
        item = None if group is None else _first(group, sequence)
        if item is not None and name in item:
            return item[name].value
    return None


def _first(group: Any, sequence: str) -> Any:
    items: Any = group.get(sequence)
    return items[0] if items else None
