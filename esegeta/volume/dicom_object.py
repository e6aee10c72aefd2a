"""What DICOM objects that are made here have in common: their makers, their order, their UIDs.

highdicom draws UIDs, takes the time of day, and sorts frames from above. Here a result is the same
file whenever it is made, and its frames lie along the normal of their plane, as ITK stacks them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.atomic import atomic_path
from esegeta.volume.dicom_reference import DATES, TIMES, Referenced, uid_of

LONGEST = 64
"""Characters of a DICOM text of one line."""
UTF_8 = "ISO_IR 192"
NO_DATE, MIDNIGHT = "19000101", "000000"


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return a text as a DICOM field holds it."""
    return " ".join(text.replace("\\", "/").split())[:longest]


def identity(name: str, content: np.ndarray, made_from: Referenced) -> dict[str, Any]:
    """Return what every object says about itself; its UIDs follow from name, content and source."""
    from esegeta import __version__

    instances = "\\".join(str(image.SOPInstanceUID) for image in made_from.images)
    parts = (name, str(content.shape), content.dtype.str, content.tobytes(), instances)
    first = made_from.images[0]
    return {
        "series_instance_uid": uid_of("series", *parts),
        "sop_instance_uid": uid_of("instance", *parts),
        "instance_number": 1,
        "manufacturer": "esegeta",
        "manufacturer_model_name": "esegeta",
        "software_versions": __version__,
        "device_serial_number": "0",
        "series_description": one_line(name),
        "specific_character_set": UTF_8,
        "content_date": _first_of(first, DATES) or NO_DATE,
        "content_time": _first_of(first, TIMES) or MIDNIGHT,
    }


def _first_of(image: Any, names: Sequence[str]) -> str:
    return next((str(image.get(name)) for name in names if image.get(name)), "")


@contextmanager
def dicom_faults(path: Path) -> Iterator[None]:
    """Turn what highdicom raises into a refusal of the series; oddities of its tags pass.

    Raises:
        DataError: the series cannot be referred to.
    """
    import pydicom

    try:
        with warnings.catch_warnings(), pydicom.config.disable_value_validation():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise DataError(
            f"{path.name}: no DICOM object can be made of this series "
            f"({' '.join(str(error).split())})",
            hint="leave `dicom` out of `write`",
        ) from error


def save_object(path: Path, content: Any) -> None:
    """Write an object that highdicom has made, its frames in order, atomically."""
    _in_order(content)
    _without_chance(content)
    with atomic_path(path) as temporary:
        content.save_as(temporary)


def _in_order(content: Any) -> None:
    """Put frames in order of their segments and, for each, along the normal of their plane."""
    shared = content.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    cosines = np.array(shared.ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    frames = content.PerFrameFunctionalGroupsSequence
    places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    heights = np.array(places, dtype=float) @ normal
    segments = np.array([_segment_of(frame) for frame in frames])
    order = [int(index) for index in np.lexsort((heights, segments))]
    _, ranks = np.unique(np.round(heights, 6), return_inverse=True)
    for frame, rank in zip(frames, ranks, strict=True):
        item = frame.FrameContentSequence[0]
        before = np.atleast_1d(item.DimensionIndexValues)[:-1]  # the segment, where it is one
        item.DimensionIndexValues = [*(int(value) for value in before), int(rank) + 1]
    content.PerFrameFunctionalGroupsSequence = [frames[index] for index in order]
    _turn_pixels(content, order)


def _segment_of(frame: Any) -> int:
    found = frame.get("SegmentIdentificationSequence")
    return int(found[0].ReferencedSegmentNumber) if found else 0


def _turn_pixels(content: Any, order: Sequence[int]) -> None:
    from pydicom.pixels import pack_bits, unpack_bits

    size = int(content.Rows) * int(content.Columns)
    if "FloatPixelData" in content:
        pixels = np.frombuffer(content.FloatPixelData, "<f4").reshape(-1, size)
        content.FloatPixelData = pixels[list(order)].tobytes()
        return
    if size % 8 == 0:  # each frame begins with a byte of its own
        packed = np.frombuffer(content.PixelData, np.uint8)[: len(order) * size // 8]
        frames = packed.reshape(-1, size // 8)[list(order)].tobytes()
        content.PixelData = frames + b"\0" * (len(frames) % 2)
        return
    bits = unpack_bits(content.PixelData)[: len(order) * size].reshape(-1, size)
    content.PixelData = pack_bits(bits[list(order)].ravel(), pad=True)


def _without_chance(content: Any) -> None:
    """Leave out what differs each time that the same object is made."""
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        content.pop(name, None)
    for item in content.get("ContributingEquipmentSequence") or ():
        item.pop("ContributionDateTime", None)
    uid = uid_of("dimensions", content.SOPInstanceUID)
    for items in (content.DimensionOrganizationSequence, content.DimensionIndexSequence):
        for item in items:
            item.DimensionOrganizationUID = uid
