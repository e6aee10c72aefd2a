"""NumPy archives (.npz): an image, or its label map, with the affine of its voxels."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.formats import require_image_file
from esegeta.volume.reading import Layout
from esegeta.volume.stored import Stored, require_regular, require_spacing

Wanted = Literal["image", "label"]

AFFINE = "affine"
NAMES = {"image": ("image", "data", "arr_0"), "label": ("label", "seg", "mask", "arr_0")}
"""Which arrays of an archive are taken, the first that is there."""
TORN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError)


def open_arrays(path: Path, layout: Layout, wanted: Wanted) -> Stored:
    """Open an .npz with one array and `affine`, 4 x 4, from its spatial indices to RAS mm.

    The array is called `image` or `data` (a label map: `label`, `seg` or `mask`), or is the only
    one beside the affine. Without an affine the spacing that the user gives is that of its axes.

    Raises:
        MissingFileError: there is no such file.
        DataError: it is damaged, holds no such array, or nothing says how large its voxels are.
    """
    require_image_file(path)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except TORN as error:
        raise DataError(
            f"{path}: not an .npz archive of plain arrays that can be read ({error})",
            hint="write it with numpy.savez_compressed(path, image=array, affine=affine)",
        ) from error
    affine = held.pop(AFFINE, None)
    array = held[_chosen(held, path, wanted)]
    if array.dtype.kind not in "iufb":
        raise DataError(f"{path}: its array is of {array.dtype}, not real numbers")
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Stored(native.shape, _affine(affine, native.ndim, layout, path), lambda: native)


def _chosen(held: dict[str, np.ndarray], path: Path, wanted: Wanted) -> str:
    found = next((name for name in NAMES[wanted] if name in held), None)
    if found is None and len(held) == 1:
        found = next(iter(held))
    if found is None:
        names = ", ".join(held) or "nothing"
        raise DataError(
            f"{path}: it is not known which array is the {wanted}; it holds {names}",
            hint=f"call it `{wanted}`",
        )
    return found


def _affine(given: np.ndarray | None, ndim: int, layout: Layout, path: Path) -> np.ndarray:
    if given is not None:
        fault = ""
        if given.dtype.kind not in "iuf":
            fault = f"holds {given.dtype}, not real numbers"
        elif given.shape != (4, 4):
            fault = f"is of shape {given.shape}, not (4, 4)"
        elif not np.array_equal(given[3], (0, 0, 0, 1)):
            fault = f"has the last row {' '.join(f'{value:g}' for value in given[3])}, not 0 0 0 1"
        if fault:
            raise DataError(
                f"{path}: its affine {fault}",
                hint="store the 4 x 4 matrix from voxel indices to RAS mm, as nibabel's `affine`",
            )
        return require_regular(given.astype(np.float64), path)
    spatial = 2 if ndim == 2 else 3
    spacing = layout.spacing_mm
    if spacing is not None and len(spacing) == 2 and ndim == 3:
        spatial = 2  # a 2D image with channels
    lengths = require_spacing(spacing, spatial, path)
    return np.diag([*lengths, *(1.0,) * (4 - spatial)])
