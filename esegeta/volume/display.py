"""Copies for the eye: small NIfTI files that a browser shows, of a part of a large image."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from jaxtyping import Num, Shaped

from esegeta.axes import Shape, shape_text
from esegeta.volume.files import read_file
from esegeta.volume.grid import Grid
from esegeta.volume.reading import Reading

MOST_VOXELS = 30_000_000
"""Beyond this, a browser without a graphics card takes minutes to show an image."""

STEPS = 1000
"""Steps of a map's copy up to where its colours end."""

INT16 = 32767
LEVEL = 6
SINGLE_FILE_OFFSET = 352
"""Where voxels begin in a NIfTI file: after its header and four bytes that end it."""

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@dataclass(frozen=True)
class Excerpt:
    """The part of a grid that is shown: a box of it, whole or one voxel for a block of several.

    Args:
        box: the part of the grid that is shown.
        stride: side of a block in voxels.
        shape: shape of the whole grid.
    """

    box: tuple[slice, ...]
    stride: int
    shape: Shape

    @property
    def note(self) -> str:
        """What a reader must know about it; empty where all is shown as it is."""
        parts = []
        lengths = tuple(part.stop - part.start for part in self.box)
        if lengths != self.shape:
            parts.append(
                f"cropped around the segmentation ({shape_text(lengths)} of "
                f"{shape_text(self.shape)} voxels)"
            )
        if self.stride > 1:
            parts.append(
                f"one voxel for {self.stride} along each axis: the mean of the scan, the strongest "
                "of the map"
            )
        return f"Display copy: {'; '.join(parts)}. The files hold all voxels." if parts else ""

    def grid(self, grid: Grid) -> Grid:
        """Return the grid of what is shown: voxels lie at the middle of their blocks."""
        move = np.eye(4)
        for axis, part in enumerate(self.box):
            move[axis, axis] = self.stride
            move[axis, 3] = part.start + (self.stride - 1) / 2
        lengths = (-(-(part.stop - part.start) // self.stride) for part in self.box)
        return Grid(tuple(lengths), grid.affine @ move)

    def mean(self, array: Num[np.ndarray, "*S"]) -> Num[np.ndarray, "*V"]:
        """Return the mean of each block, of a scan."""
        part = array[self.box]
        return part if self.stride == 1 else _reduced(part, self.stride, np.mean)

    def strongest(self, array: Num[np.ndarray, "*S"]) -> Num[np.ndarray, "*V"]:
        """Return the value of the largest magnitude in each block, of a map."""
        part = array[self.box]
        if self.stride == 1:
            return part
        high = _reduced(part, self.stride, np.max)
        low = _reduced(part, self.stride, np.min)
        return np.where(high >= -low, high, low)

    def nearest(self, array: Shaped[np.ndarray, "*S"]) -> Shaped[np.ndarray, "*V"]:
        """Return one voxel of each block, of a label map."""
        part = array[self.box]
        middle = slice(None, None, self.stride)
        return part[(middle,) * part.ndim]


def _reduced(
    part: np.ndarray, stride: int, reduce: Callable[..., np.ndarray]
) -> Num[np.ndarray, "*V"]:
    """Reduce blocks; those at the far end are filled up with the border's own values."""
    padded = np.pad(part, [(0, -length % stride) for length in part.shape], mode="edge")
    split = [side for length in padded.shape for side in (length // stride, stride)]
    blocks = padded.reshape(split)
    return np.asarray(reduce(blocks, axis=tuple(range(1, 2 * part.ndim, 2))))


def excerpt_of(
    grid: Grid,
    mask: Shaped[np.ndarray, "*S"] | None,
    *,
    margin_mm: float = 30.0,
    most_voxels: int = MOST_VOXELS,
) -> Excerpt:
    """Return the part of an image that is shown: all of it, unless it is too large for a browser.

    Args:
        grid: grid of the image.
        mask: voxels that must be visible, such as a segmentation; a large image is cropped to them.
        margin_mm: how much is kept around it, in mm.
        most_voxels: largest number of voxels that are shown.
    """
    whole = tuple(slice(0, length) for length in grid.shape)
    if int(np.prod(grid.shape)) <= most_voxels:
        return Excerpt(whole, 1, grid.shape)
    box = whole
    if mask is not None and mask.any():
        box = tuple(
            _range_of(mask, axis, margin_mm / grid.spacing_mm[axis]) for axis in range(grid.ndim)
        )
    stride = 1
    while np.prod([-(-(part.stop - part.start) // stride) for part in box]) > most_voxels:
        stride += 1
    return Excerpt(box, stride, grid.shape)


def _range_of(mask: np.ndarray, axis: int, margin: float) -> slice:
    others = tuple(other for other in range(mask.ndim) if other != axis)
    places = np.flatnonzero(mask.any(axis=others))
    low = max(int(places[0] - margin), 0)
    high = min(int(np.ceil(places[-1] + margin)) + 1, mask.shape[axis])
    return slice(low, high)


def read_written(path: Path) -> tuple[Num[np.ndarray, "*S"], Grid]:
    """Read a map or a segmentation that was written, on its own grid.

    Raises:
        DataError: it cannot be read.
    """
    file = read_file(path, Reading(1, 2))
    return file.array[0], file.grid


def scan_copy(array: Num[np.ndarray, "*S"], grid: Grid) -> bytes:
    """Return a scan as gzipped int16 NIfTI: whole numbers as they are, others to 1 / 65534."""
    low, high = float(array.min()), float(array.max())
    if np.array_equal(array, np.rint(array)) and low >= -INT16 and high <= INT16:
        return _nifti(array.astype(np.int16), grid, 1.0, 0.0)
    slope, middle = (high - low) / (2 * INT16) or 1.0, (high + low) / 2
    return _nifti(np.rint((array - middle) / slope).astype(np.int16), grid, slope, middle)


def map_copy(array: Num[np.ndarray, "*S"], grid: Grid, high: float) -> bytes:
    """Return a map as gzipped int16 NIfTI; nothing is clipped.

    Values are true to half of a thousandth of `high`, or to 1 / 65534 of the strongest where that
    is coarser; a map's dust becomes zeros, which take no room.

    Args:
        array: the map.
        grid: grid of the map.
        high: value at which its colours end.
    """
    peak = float(np.abs(array).max(initial=0.0))
    slope = max(high / STEPS, peak / INT16) or 1.0
    return _nifti(np.rint(array / slope).astype(np.int16), grid, slope, 0.0)


def label_copy(array: Shaped[np.ndarray, "*S"], grid: Grid) -> bytes:
    """Return a label map as gzipped NIfTI of its integers."""
    kind = np.uint8 if array.max(initial=0) < 256 and array.min(initial=0) >= 0 else np.int16
    return _nifti(array.astype(kind), grid, 1.0, 0.0, intent="label")


def colour_copy(array: Num[np.ndarray, "3 *S"], grid: Grid) -> bytes:
    """Return a picture's red, green and blue, 0..255, as gzipped RGB NIfTI."""
    bytes_ = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    joined = np.ascontiguousarray(np.moveaxis(bytes_, 0, -1))
    return _nifti(joined.view(RGB)[..., 0], grid, 1.0, 0.0)


def _nifti(
    array: np.ndarray, grid: Grid, slope: float, inter: float, *, intent: str = "none"
) -> bytes:
    """Return the bytes of a NIfTI file with the affine as its sform, compressed, without a date."""
    array = array.reshape(array.shape + (1,) * (3 - array.ndim))
    image = nib.Nifti1Image(array, None, dtype=array.dtype)
    image.header.set_data_dtype(array.dtype)
    image.header.set_xyzt_units("mm")
    image.header.set_intent(intent)
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1, strip_shears=True)
    image.header["scl_slope"], image.header["scl_inter"] = slope, inter
    # Written by hand, for nibabel would scale the numbers again.
    image.header["magic"], image.header["vox_offset"] = b"n+1", SINGLE_FILE_OFFSET
    head = image.header.binaryblock.ljust(SINGLE_FILE_OFFSET, b"\0")
    return gzip.compress(head + array.tobytes(order="F"), LEVEL, mtime=0)
