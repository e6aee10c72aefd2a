"""What the header of a DICOM file says, through ITK: its series, its size and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.volume.itk import itk_faults
from esegeta.volume.kinds import DICOM_MAGIC, PREAMBLE
from esegeta.volume.slices import Place

SERIES, DESCRIPTION = "0020|000e", "0008|103e"
POSITION, ORIENTATION, FRAMES = "0020|0032", "0020|0037", "0028|0008"
MODALITY = "0008|0060"
STORAGE = "1.2.840.10008.5.1.4.1.1"
SEGMENTATIONS = (f"{STORAGE}.66.4", f"{STORAGE}.66.7")
"""Storage classes of segmentations: of segments, and of label maps."""
NOT_IMAGES = tuple(
    f"{STORAGE}.{kind}."
    for kind in ("9", "11", "30", "66", "67", "68", "78", "79", "80", "88", "104", "481.3", "481.5")
)
"""Storage classes of waveforms, maps, segmentations, reports and plans, which are not scans."""
DIRECTORY = "1.2.840.10008.1.3.10"
SAME_COSINE = 1e-3
"""Cosines that ITK has taken from a file differ by no more than this from those that it states."""
MOST_ROUNDED = 0.02
"""Two digits of each cosine leave the length of an axis this far from one, at the most."""
LONG_LENGTHS = (b"OB", b"OW", b"OF", b"SQ", b"UT", b"UN")


@dataclass(frozen=True)
class DicomHeader:
    """What is known of a DICOM file before its pixels are read.

    Args:
        path: path of the file.
        series: its UID.
        description: description of the series.
        size: columns, rows, frames.
        components: numbers per pixel.
        spacing_mm: between columns, rows and slices, as ITK has them.
        origin_mm: origin as ITK gives it (LPS).
        direction: direction cosines as ITK gives them, row by row.
        has_place: whether the file says where its one slice lies.
        has_odd_axes: whether it states axes that are not at right angles, or are none.
        storage: the class of the object.
    """

    path: Path
    series: str
    description: str
    size: tuple[int, ...]
    components: int
    spacing_mm: tuple[float, ...]
    origin_mm: tuple[float, ...]
    direction: tuple[float, ...]
    has_place: bool
    has_odd_axes: bool
    storage: str

    @property
    def num_frames(self) -> int:
        """How many slices the file holds."""
        return self.size[2]

    @property
    def place(self) -> Place:
        """Where its one slice lies."""
        turn = np.array(self.direction).reshape(3, 3)
        return Place(
            self.path.name,
            self.origin_mm,
            tuple(float(value) for value in turn[:, 0]),
            tuple(float(value) for value in turn[:, 1]),
            self.spacing_mm[:2],
            (self.size[0], self.size[1]),
        )


def dicom_header(path: Path) -> DicomHeader | None:
    """Return the header of a DICOM file; None of one without an image.

    Raises:
        DataError: it is damaged, or not a DICOM file.
    """
    status = path.stat()
    return _read_header(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8192)
def _read_header(path: Path, _changed: int, _size: int) -> DicomHeader | None:
    storage = storage_class(path)
    if storage == DIRECTORY or f"{storage}.".startswith(NOT_IMAGES):
        return None
    reader = dicom_reader(path)
    with itk_faults(path):
        reader.ReadImageInformation()
    keys = set(reader.GetMetaDataKeys())

    def text(key: str) -> str:
        return reader.GetMetaData(key).strip() if key in keys else ""

    return DicomHeader(
        path,
        text(SERIES),
        text(DESCRIPTION),
        tuple(int(length) for length in reader.GetSize()),  # ITK has three axes of any DICOM file
        int(reader.GetNumberOfComponents()),
        tuple(reader.GetSpacing()),
        tuple(reader.GetOrigin()),
        tuple(reader.GetDirection()),
        has_place=bool(text(POSITION) and text(ORIENTATION)),
        has_odd_axes=bool(text(ORIENTATION))
        and not _are_taken(text(ORIENTATION), reader.GetDirection()),
        storage=storage,
    )


def _are_taken(said: str, direction: Sequence[float]) -> bool:
    """Tell whether ITK has found the axes that a file states, which may be rounded.

    Axes that are not of about length one and at right angles it takes for those of the patient.
    """
    try:
        axes = np.array([float(value) for value in said.split("\\")]).reshape(2, 3)
    except ValueError:
        return False
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    found = np.array(direction).reshape(3, 3)[:, :2].T
    are_unit = np.allclose(lengths, 1, atol=MOST_ROUNDED)
    return are_unit and np.allclose(axes / lengths, found, atol=SAME_COSINE)


def dicom_reader(path: Path) -> Any:
    """Return ITK's reader of a DICOM file."""
    import SimpleITK as sitk  # see esegeta.volume.itk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    return reader


def storage_class(path: Path) -> str:
    """Return what kind of object a file holds, by its meta header; nothing where it has none."""
    with path.open("rb") as stream:
        content = stream.read(4096)
    if content[PREAMBLE : PREAMBLE + 4] != DICOM_MAGIC:
        return ""
    place = PREAMBLE + 4
    while content[place : place + 2] == b"\x02\x00" and place + 12 <= len(content):
        element, kind = content[place + 2 : place + 4], content[place + 4 : place + 6]
        if kind in LONG_LENGTHS:
            length, start = int.from_bytes(content[place + 8 : place + 12], "little"), place + 12
        else:
            length, start = int.from_bytes(content[place + 6 : place + 8], "little"), place + 8
        if element == b"\x02\x00":
            return content[start : start + length].decode("latin-1").strip("\0 ")
        place = start + length
    return ""
