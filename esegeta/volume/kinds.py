"""Which reader a file is for: by its name, and where names do not tell, by what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from esegeta.volume.formats import ARRAY_SUFFIXES, ITK_SUFFIXES, PICTURE_SUFFIXES, suffix_of
from esegeta.volume.picture_header import count_pages

Kind = Literal["nifti", "picture", "stack", "itk", "arrays"]


def kind_of(path: Path) -> Kind:
    """Return which reader a file is for; what is not known is left to that of NIfTI to refuse."""
    if suffix_of(path.name, PICTURE_SUFFIXES):
        return "stack" if count_pages(path) > 1 else "picture"
    if suffix_of(path.name, ITK_SUFFIXES):
        return "itk"
    return "arrays" if suffix_of(path.name, ARRAY_SUFFIXES) else "nifti"


def is_picture(path: Path) -> bool:
    """Tell whether a file is one PNG, JPEG or TIFF; TIFFs of several pages are volumes."""
    return kind_of(path) == "picture"
