"""The slices of a series that a result written as DICOM refers to, through pydicom.

Patient, study and frame of reference of the result are theirs. What the standard asks of every
image, and converters leave out, is filled in: nothing where it may be empty, and a frame of
reference that follows from the series where it names none.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.dicom import chosen_series
from esegeta.volume.dicom_frames import INSTALL, frames_of
from esegeta.volume.dicom_header import DicomHeader, dicom_header
from esegeta.volume.kinds import kind_of
from esegeta.volume.slices import stack_slices

MAY_BE_EMPTY = (
    "AccessionNumber",
    "PatientBirthDate",
    "PatientID",
    "PatientName",
    "PatientSex",
    "PositionReferenceIndicator",
    "ReferringPhysicianName",
    "StudyDate",
    "StudyID",
    "StudyTime",
)
WRITES_SINCE = (0, 28)
"""The version of highdicom that takes what is written here."""
SEXES = ("", "F", "M", "O")
DATES = ("ContentDate", "AcquisitionDate", "SeriesDate", "StudyDate")
TIMES = ("ContentTime", "AcquisitionTime", "SeriesTime", "StudyTime")
MUST_BE = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, eq=False)
class Referenced:
    """The images that a result is made from.

    Args:
        images: headers as pydicom reads them: one for each slice, or that of the one file of all
            frames.
        order: index, among their frames, of each plane k of the volume.
    """

    images: tuple[Any, ...]
    order: tuple[int, ...]

    def frames(self, array: np.ndarray) -> np.ndarray:
        """Return `X Y Z ...` on the volume's grid as frames `F rows columns ...` of the images."""
        planes = np.moveaxis(array, [0, 1, 2], [2, 1, 0])
        frames = np.empty_like(planes, order="C")
        frames[list(self.order)] = planes
        return frames


def require_dicom_output(path: Path, series: str = "") -> None:
    """Refuse an image whose slices no DICOM object can be made from, judging by the first.

    Raises:
        DataError: highdicom is not installed, it is not DICOM, or its header says too little.
    """
    try:
        import highdicom
    except ImportError as error:
        raise DataError("only highdicom writes DICOM", hint=INSTALL) from error
    found = str(highdicom.__version__)
    if tuple(int(number) for number in found.split(".")[:2]) < WRITES_SINCE:
        raise DataError(f"highdicom {found} is too old to write DICOM", hint=INSTALL)
    headers = _headers(path, series)
    without = [header.path.name for header in headers if not _says_where(header)]
    if without:
        raise DataError(
            f"{path}: {without[0]} does not say the position of its frames",
            hint="write NIfTI alone",
        )
    _read(headers[0])


def referenced(path: Path, series: str = "") -> Referenced:
    """Read the headers of the slices of a series.

    Args:
        path: the folder, or the file of one slice or several frames.
        series: UID or description, where a folder holds several.

    Raises:
        DataError: as in `require_dicom_output`, for any of the slices.
    """
    headers = _headers(path, series)
    first = headers[0]
    if first.num_frames > 1:
        frames = frames_of(first)
        assert frames is not None  # `require_dicom_output` has asked
        stacked = stack_slices(frames.places, first.spacing_mm[2], first.path)
        return Referenced((_shared_plane(_read(first)),), stacked.order)
    places = [header.place for header in headers]
    stacked = stack_slices(places, first.spacing_mm[2], path)
    step_mm = float(np.linalg.norm(stacked.affine[:3, 2]))
    images = [_read(headers[index]) for index in stacked.order]
    return Referenced(tuple(_as_one_series(images, step_mm)), tuple(range(len(images))))


def uid_of(*parts: bytes | str) -> str:
    """Return a UID that follows from what it identifies."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "little") + content)
    return f"2.25.{uuid.UUID(bytes=digest.digest()[:16], version=5).int}"


def _headers(path: Path, series: str) -> Sequence[DicomHeader]:
    kind = kind_of(path)
    if kind == "series":
        return chosen_series(path, series)
    header = dicom_header(path) if kind == "dicom" else None
    if header is None:
        raise DataError(f"{path}: is not a DICOM series", hint="write NIfTI alone")
    return [header]


def _says_where(header: DicomHeader) -> bool:
    if header.num_frames > 1:
        return frames_of(header) is not None
    return header.has_place and not header.has_odd_axes


def _read(header: DicomHeader) -> Any:
    import pydicom

    content = pydicom.dcmread(header.path, stop_before_pixels=True)
    missing = [name for name in MUST_BE if not content.get(name)]
    if missing:
        raise DataError(
            f"{header.path}: has no {' and no '.join(missing)} that a result could refer to",
            hint="write NIfTI alone",
        )
    content.decode()
    for name in MAY_BE_EMPTY:
        if content.get(name) is None:
            setattr(content, name, "")
    if content.PatientSex not in SEXES:
        content.PatientSex = ""
    for name in ("PatientBirthDate", *DATES, *TIMES):
        if content.get(name) and not _is_moment(content[name]):
            setattr(content, name, "")
    if not content.get("FrameOfReferenceUID"):
        content.FrameOfReferenceUID = uid_of("frame of reference", content.SeriesInstanceUID)
    return content


def _is_moment(element: Any) -> bool:
    """Tell whether a date or time is valid; some that programs write by hand are not."""
    from pydicom.valuerep import DA, TM

    try:
        (DA if element.VR == "DA" else TM)(str(element.value))
    except ValueError:
        return False
    return True


def _as_one_series(images: Sequence[Any], step_mm: float) -> Sequence[Any]:
    """Make slices agree on what they all share, where rounding may set them apart."""
    from pydicom.valuerep import DSfloat

    first = images[0]
    for image in images:
        image.ImageOrientationPatient = first.ImageOrientationPatient
        image.PixelSpacing = first.PixelSpacing
        image.FrameOfReferenceUID = first.FrameOfReferenceUID
        image.StudyInstanceUID = first.StudyInstanceUID
        image.SpacingBetweenSlices = DSfloat(step_mm, auto_format=True)
        if not image.get("SliceThickness"):
            image.SliceThickness = image.SpacingBetweenSlices
    return images


def _shared_plane(image: Any) -> Any:
    """Say once for all frames what `stack_slices` has found to be the same for each."""
    shared, first = image.SharedFunctionalGroupsSequence[0], image.PerFrameFunctionalGroupsSequence
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if name not in shared:
            setattr(shared, name, first[0][name].value)
    return image
