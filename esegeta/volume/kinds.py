"""Which reader a file is for: by its name, and where names do not tell, by what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from esegeta.volume.formats import (
    ARRAY_SUFFIXES,
    IMAGE_SUFFIXES,
    ITK_SUFFIXES,
    PICTURE_SUFFIXES,
    foreign_suffix,
    is_dicom_name,
    suffix_of,
)
from esegeta.volume.members import files_in
from esegeta.volume.picture_header import count_pages

FileKind = Literal["nifti", "picture", "stack", "itk", "arrays", "dicom", "series"]

PREAMBLE, DICOM_MAGIC = 128, b"DICM"


def kind_of(path: Path) -> FileKind:
    """Return which reader a file is for; unknown files are left to the NIfTI reader to refuse."""
    if path.is_dir() and not foreign_suffix(path.name):
        return "series"
    if is_dicom_file(path):
        return "dicom"
    if suffix_of(path.name, PICTURE_SUFFIXES):
        return "stack" if count_pages(path) > 1 else "picture"
    if suffix_of(path.name, ITK_SUFFIXES):
        return "itk"
    return "arrays" if suffix_of(path.name, ARRAY_SUFFIXES) else "nifti"


def is_picture(path: Path) -> bool:
    """Tell whether a file is one PNG, JPEG or TIFF; TIFFs of several pages are volumes."""
    return kind_of(path) == "picture"


def is_dicom(path: Path) -> bool:
    """Tell by its first bytes whether a file is DICOM."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        start = stream.read(PREAMBLE + len(DICOM_MAGIC))
    return start[PREAMBLE:] == DICOM_MAGIC


def is_dicom_file(path: Path) -> bool:
    """Tell whether a file is DICOM by its name, or by its first bytes where names do not tell."""
    return is_dicom_name(path.name) or (not suffix_of(path.name, IMAGE_SUFFIXES) and is_dicom(path))


def holds_dicom(folder: Path) -> bool:
    """Tell whether a folder holds DICOM files itself."""
    return any(is_dicom_file(path) for path in files_in(folder))
