"""PNG and JPEG pictures as 2D images.

Axes are x first, then y downwards, as for NIfTI voxels (and as MONAI's readers give them), so a
picture of width W and height H becomes an array W x H. Pictures carry no geometry: pixels count
as 1 mm, in the left-posterior order that viewers show upright.

SimpleITK reads them: pillow would cut colours of 16 bits down to 8.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from esegeta.errors import DataError, MissingFileError
from esegeta.volume.grid import Grid

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")


def is_picture(path: Path) -> bool:
    """Tell by the suffix whether a file is a PNG or JPEG."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def picture_shape(path: Path) -> tuple[int, ...]:
    """Return (W, H) or (W, H, channels) from the header alone.

    Raises:
        MissingFileError: there is no such file.
        DataError: the file is not a picture.
    """
    if not path.is_file():
        raise MissingFileError(f"{path}: no such file", hint="check the path")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise DataError(f"{path}: not a PNG or JPEG picture that can be read") from error
    width, height = reader.GetSize()[:2]
    channels = reader.GetNumberOfComponents()
    return (width, height) if channels == 1 else (width, height, channels)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture as float32, (W, H) or (W, H, channels), in its own grey levels.

    Raises:
        DataError: the file is torn or not a picture.
    """
    picture_shape(path)
    try:
        array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise DataError(
            f"{path}: the picture is damaged", hint="copy or export it again"
        ) from error
    return np.swapaxes(array, 0, 1).astype(np.float32)


def picture_grid(shape: tuple[int, ...]) -> Grid:
    """Return the grid of a picture: 1 mm pixels, x to the left, y to the back."""
    return Grid(tuple(shape[:2]), np.diag([-1.0, -1.0, 1.0, 1.0]))
