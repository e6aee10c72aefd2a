"""TIFF files of several pages as volumes: columns, rows and pages, in ITK's world.

How large voxels are stands in what ImageJ or OME wrote into the file, or is given by the user; the
dots per inch of a plain TIFF are of paper, and no tag says how far pages are apart.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

from esegeta.axes import Shape
from esegeta.errors import DataError
from esegeta.volume.formats import require_image_file
from esegeta.volume.itk import array_of, itk_faults
from esegeta.volume.picture import BROKEN
from esegeta.volume.picture_header import (
    COPY_AGAIN,
    DAMAGED,
    PictureHeader,
    count_pages,
    read_picture_header,
)
from esegeta.volume.reading import Layout
from esegeta.volume.stored import LPS_TO_RAS, Stored, require_regular, require_spacing

DESCRIPTION, X_RESOLUTION, Y_RESOLUTION = 270, 282, 283
"""Tags of TIFF."""
MM = {
    "nm": 1e-6,
    "um": 1e-3,
    "µm": 1e-3,
    "μm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "mm": 1.0,
    "cm": 10.0,
    "m": 1000.0,
}
"""Units as ImageJ and OME write them."""
EXPORT_STACK = "write it as .nii.gz or .nrrd, or as a grey TIFF of 8 or 16 bits that is all slices"


@dataclass(frozen=True)
class StackTags:
    """What ImageJ or OME wrote about a stack.

    Args:
        spacing_mm: spacing of columns, rows and pages; None where the file does not say.
        channels: pages of one slice.
        times: points in time.
    """

    spacing_mm: tuple[float, ...] | None = None
    channels: int = 1
    times: int = 1


def open_stack(path: Path, layout: Layout) -> Stored:
    """Open a TIFF of several pages as a volume of columns x rows x pages.

    A spacing that the user gives wins over that of the tags. Channels of an ImageJ hyperstack
    become channels.

    Raises:
        DataError: its pages are not of one kind, hold what cannot be read as grey levels or
            colours, or nothing says how large its voxels are.
    """
    require_image_file(path)
    header, pages = read_picture_header(path), count_pages(path)
    tags, kinds = _tags(path)
    if len(kinds) > 1:
        raise DataError(
            f"{path}: its pages differ in size or kind: {' and '.join(sorted(kinds))}",
            hint="write the pages of one volume, or one picture per file",
        )
    if header.has_palette or header.has_alpha or header.is_bilevel:
        kind = "a palette" if header.has_palette else "an alpha channel"
        kind = "one bit per pixel" if header.is_bilevel else kind
        raise DataError(f"{path}: {pages} pages with {kind}", hint=EXPORT_STACK)
    if tags.times > 1 or pages % tags.channels:
        raise DataError(
            f"{path}: {pages} pages of {tags.channels} channels and {tags.times} points in time",
            hint="write one volume of one point in time",
        )
    several = max(header.samples, tags.channels)
    if min(header.samples, tags.channels) > 1:
        raise DataError(f"{path}: channels whose pages are in colour", hint=EXPORT_STACK)
    spacing = require_spacing(layout.spacing_mm or tags.spacing_mm, 3, path)
    affine = require_regular(LPS_TO_RAS @ np.diag([*spacing, 1.0]), path)
    shape = (header.width, header.height, pages // tags.channels)

    def load() -> np.ndarray:
        array = _read(path, header, (header.width, header.height, pages, header.samples))
        if tags.channels == 1:
            return array
        return array.reshape(*shape, tags.channels)

    return Stored((*shape, several), affine, load, channels_axis=3)


def _read(path: Path, header: PictureHeader, expected: Shape) -> np.ndarray:
    """Return columns x rows x pages x samples, as the header promises them.

    Raises:
        DataError: neither library reads them that way.
    """
    readers: tuple[Callable[[Path], np.ndarray], ...] = (_with_pillow, _with_itk)
    for read in readers:
        try:
            array = read(path)
        except (*BROKEN, DataError):
            continue
        array = array.reshape(*array.shape[:3], -1)
        if array.shape == expected and array.dtype.newbyteorder("=") == header.dtype:
            return array.astype(header.dtype, copy=False)
    raise DataError(
        f"{path}: {DAMAGED}, or are in a layout that is not supported",
        hint=f"{COPY_AGAIN}; {EXPORT_STACK}",
    )


def _with_pillow(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            pages = np.stack([np.array(page) for page in ImageSequence.Iterator(image)])
    return np.moveaxis(pages, (0, 1, 2), (2, 1, 0))


def _with_itk(path: Path) -> np.ndarray:
    import SimpleITK as sitk  # see esegeta.volume.itk

    with itk_faults(path):
        return array_of(sitk.ReadImage(str(path)))


def _tags(path: Path) -> tuple[StackTags, set[str]]:
    """Return what was written about a stack, and the sizes and kinds of its pages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                held = dict(image.tag_v2)  # type: ignore[attr-defined]
                kinds = {
                    f"{page.width}x{page.height} of {page.mode}"
                    for page in ImageSequence.Iterator(image)
                }
    except BROKEN:
        return StackTags(), set()
    text = str(held.get(DESCRIPTION, ""))
    if text.startswith("ImageJ="):
        return _of_imagej(text, held.get(X_RESOLUTION), held.get(Y_RESOLUTION)), kinds
    return _of_ome(text) if "<OME" in text else StackTags(), kinds


def _of_imagej(text: str, per_x: object, per_y: object) -> StackTags:
    """Return what ImageJ says: pixels per unit as resolutions, and how far slices are apart."""
    said = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    unit = MM.get(said.get("unit", "").strip().lower())
    channels, times = int(said.get("channels", 1)), int(said.get("frames", 1))
    if unit is None or "spacing" not in said or not per_x or not per_y:
        return StackTags(None, channels, times)
    lengths = (1 / float(str(per_x)), 1 / float(str(per_y)), float(said["spacing"]))
    return StackTags(tuple(unit * length for length in lengths), channels, times)


def _of_ome(text: str) -> StackTags:
    """Return what OME's XML says of its first image; sizes are in micrometres without a unit."""
    said = dict(re.findall(r'\b((?:PhysicalSize|Size)[XYZCT](?:Unit)?)="([^"]*)"', text)[::-1])
    pages = int(said.get("SizeC", 1)) * int(said.get("SizeT", 1))
    lengths = []
    for axis in "XYZ":
        unit = MM.get(said.get(f"PhysicalSize{axis}Unit", "µm"))
        length = said.get(f"PhysicalSize{axis}")
        if unit is None or length is None:
            return StackTags(None, 1, pages)
        lengths.append(unit * float(length))
    return StackTags(tuple(lengths), 1, pages)
