"""PNG, JPEG and TIFF pictures as 2D images, of pixels that have no size.

An array of rows x columns (`yx`), as torchvision, Pillow, OpenCV and nnU-Net hand it to networks,
or of columns x rows (`xy`), as MONAI's readers do. In either, the grid puts the first pixel to the
upper left of viewers: columns run to the left of the patient and rows to the back, one mm a pixel.

Two libraries read what the header promises, and what comes out must be of that shape and type:
Pillow cuts colours of 16 bits down to 8, ITK drops channels and knows no palettes of TIFF.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from esegeta.errors import DataError
from esegeta.volume.formats import require_image_file
from esegeta.volume.grid import Grid
from esegeta.volume.itk import itk_quiet
from esegeta.volume.jpeg import is_whole
from esegeta.volume.picture_header import (
    COPY_AGAIN,
    DAMAGED,
    EXPORT,
    JPEG_MAGIC,
    PictureHeader,
    read_picture_header,
    turned,
)

PictureAxes = Literal["yx", "xy"]
"""Whether the first axis of a picture's array is that of its rows (y) or of its columns (x)."""

EXIF_ORIENTATION = 0x0112
BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)
"""What Pillow raises on files that are damaged or foreign."""

ORIENTED = {
    "xy": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "yx": np.array([[0, -1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=np.float64),
}


def picture_channels(path: Path) -> int:
    """Return 1 for grey and 3 for colours; reads the pixels only where some may be transparent.

    Raises:
        MissingFileError: there is no such file.
        DataError: the file is not a picture that can be read.
    """
    header = _header_of(path)
    if header.may_be_transparent:
        read_picture(path, "yx")
    if header.has_palette:
        return 1 if _is_grey(_palette(path)) else 3
    return header.samples - header.has_alpha


def picture_grid(path: Path, axes: PictureAxes) -> Grid:
    """Return the grid of a picture: pixels of 1 mm, columns to the left, rows to the back."""
    header = _header_of(path)
    rows_columns = (header.height, header.width)
    return Grid(rows_columns if axes == "yx" else rows_columns[::-1], ORIENTED[axes].copy())


def read_picture(path: Path, axes: PictureAxes) -> np.ndarray:
    """Read a picture's own grey levels or colours, `*S C`.

    Palettes become the colours that they hold, grey ones one channel; one bit becomes 0 and 255.

    Raises:
        DataError: the file is damaged, not a picture, or transparent somewhere.
    """
    header = _header_of(path)
    array = _pixels(path, header)
    _require_whole_jpeg(path)
    _require_opaque(path, header, array)
    if header.has_palette:
        colours = _palette(path)
        array = colours[array[..., 0]]
        array = array[..., :1] if _is_grey(colours) else array
    elif header.has_alpha:
        array = array[..., :-1]
    if header.is_bilevel:
        array = array.astype(np.uint8) * 255
    return array if axes == "yx" else array.swapaxes(0, 1)


def read_picture_labels(path: Path, axes: PictureAxes) -> np.ndarray:
    """Read a picture of label integers, `*S 1`: what is stored at each pixel.

    One bit is 0 or 1; a place in a palette of colours is the label, as in PASCAL VOC. A grey
    palette is how programs pack grey levels, and these are the labels.
    """
    header = _header_of(path)
    if header.is_bilevel or (header.has_palette and not _is_grey(_palette(path))):
        array = _pixels(path, header).astype(np.uint8)
        return array if axes == "yx" else array.swapaxes(0, 1)
    return read_picture(path, axes)


def label_channels(path: Path) -> int:
    """Return how many channels `read_picture_labels` reads."""
    return 1 if _header_of(path).has_palette else picture_channels(path)


def _header_of(path: Path) -> PictureHeader:
    require_image_file(path)
    return read_picture_header(path)


def _pixels(path: Path, header: PictureHeader) -> np.ndarray:
    """Return the stored samples, rows x columns x samples, as the header promises them.

    Raises:
        DataError: the file is damaged, or neither library reads it as it is.
    """
    expected = (header.height, header.width, header.samples)
    dtype = np.dtype(bool) if header.is_bilevel else header.dtype
    readers: tuple[Callable[[Path], np.ndarray], ...] = (_with_pillow, _with_itk)
    faults = []
    for read in readers:
        try:
            array = read(path)
        except (*BROKEN, RuntimeError) as error:
            faults.append(error)
            continue
        array = array.reshape(*array.shape[:2], -1)
        if array.shape == expected and array.dtype.newbyteorder("=") == dtype:
            return array.astype(dtype, copy=False)
    if len(faults) == len(readers):
        raise DataError(f"{path}: {DAMAGED} ({faults[0]})", hint=COPY_AGAIN) from faults[0]
    bits = 1 if header.is_bilevel else 8 * header.dtype.itemsize
    raise DataError(
        f"{path}: a picture of {header.samples} samples per pixel of {bits} bits "
        f"({header.dtype.name}), in a layout that is not supported",
        hint=EXPORT,
    )


def _with_pillow(path: Path) -> np.ndarray:
    with _opened(path) as image:
        return np.array(image)


def _require_whole_jpeg(path: Path) -> None:
    content = path.read_bytes()
    if not content.startswith(JPEG_MAGIC):
        return
    try:
        whole = is_whole(content, _decoded)
    except BROKEN:
        whole = False
    if not whole:
        raise DataError(f"{path}: {DAMAGED}", hint=COPY_AGAIN)


def _decoded(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def _with_itk(path: Path) -> np.ndarray:
    import SimpleITK as sitk  # see esegeta.volume.itk

    with itk_quiet():
        array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture with Pillow, however large it is; slides have more than a billion pixels.

    Raises:
        DataError: its tags ask that it be turned.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1):
                    raise turned(path)
                yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _palette(path: Path) -> np.ndarray:
    """Return the colours of a palette, 256 x 3; those that it does not hold are black."""
    try:
        with _opened(path) as image:
            held = image.getpalette("RGB") or []
    except BROKEN as error:
        raise DataError(f"{path}: {DAMAGED}", hint=COPY_AGAIN) from error
    colours = np.zeros((256, 3), np.uint8)
    colours.reshape(-1)[: len(held)] = held
    return colours


def _is_grey(colours: np.ndarray) -> bool:
    return bool((colours == colours[:, :1]).all())


def _require_opaque(path: Path, header: PictureHeader, array: np.ndarray) -> None:
    """Refuse a picture in which anything is transparent: no network's input tells what is below."""
    if header.has_palette:
        opacity = np.full(256, 255, np.uint8)
        opacity[: len(header.clear)] = header.clear
        clear = opacity[array[..., 0]] < 255
    elif header.clear:
        clear = (array[..., : len(header.clear)] == np.array(header.clear)).all(axis=-1)
    elif header.has_alpha:
        full = 1.0 if header.dtype.kind == "f" else np.iinfo(header.dtype).max
        clear = array[..., -1] != full
    else:
        return
    if clear.any():
        row, column = (int(place) for place in np.argwhere(clear)[0])
        count = int(clear.sum())
        raise DataError(
            f"{path}: {count} pixel{'s are' if count != 1 else ' is'} transparent, the first in "
            f"row {row}, column {column}; what is behind them is not known",
            hint="write the picture without an alpha channel, on the right background",
        )
