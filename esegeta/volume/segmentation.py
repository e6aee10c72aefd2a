"""DICOM segmentations as label maps, through highdicom: a segment's number is its integer.

Those that are written here have integers of their own, as the codes of their types.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.errors import DataError
from esegeta.volume.alignment import ROUNDING, SAME_VOXEL, Turn
from esegeta.volume.dicom_frames import INSTALL
from esegeta.volume.grid import Grid
from esegeta.volume.stored import LPS_TO_RAS, Stored, require_regular

INTEGER_SCHEME = "99ESEGETA"
"""Coding scheme of types whose codes are integers of label maps."""


def open_segmentation(path: Path, onto: Grid) -> Stored:
    """Open a DICOM segmentation on the grid of its image.

    Only slices with something on them are stored; the others are background.

    Args:
        path: path of the file.
        onto: the image's grid; on another grid than one of its voxels the map is left on its own.

    Raises:
        DataError: highdicom is not installed, segments overlap or are fractions, or the file
            cannot be read.
    """
    try:
        import highdicom
    except ImportError as error:
        raise DataError(
            f"{path}: a DICOM segmentation, which only highdicom reads", hint=INSTALL
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = highdicom.seg.segread(path)
            if str(content.SegmentationType) == "FRACTIONAL":
                raise DataError(
                    f"{path}: its segments are fractions, not labels",
                    hint="write a binary segmentation or a label map",
                )
            volume = content.get_volume(combine_segments=True)
    except DataError:
        raise
    except Exception as error:  # highdicom and pydicom raise whatever a torn file leads to
        raise DataError(
            f"{path}: the segmentation cannot be read ({' '.join(str(error).split())})",
            hint="do segments overlap? write each as a label map of its own",
        ) from error
    array = _with_integers(np.asarray(volume.array), content)
    affine = require_regular(LPS_TO_RAS @ np.asarray(volume.affine, dtype=np.float64), path)
    return completed(Stored(array.shape, affine, lambda: array), onto)


def _with_integers(array: np.ndarray, content: Any) -> np.ndarray:
    """Return numbers of segments as the integers of the labels that they were written for."""
    numbers = np.arange(int(array.max(initial=0)) + 1)
    for segment in content.SegmentSequence:
        kind, number = segment.SegmentedPropertyTypeCodeSequence[0], int(segment.SegmentNumber)
        code = str(kind.get("CodeValue") or kind.get("LongCodeValue"))
        own = kind.get("CodingSchemeDesignator") == INTEGER_SCHEME and code.isdigit()
        if own and number < len(numbers):
            numbers[number] = int(code)
    painted: np.ndarray = numbers[array]
    return painted


def completed(part: Stored, onto: Grid) -> Stored:
    """Return a label map that holds a part of an image as one of the whole image.

    It is left as it is where its voxels are not some of the image's, or it has more axes.
    """
    if len(part.shape) != 3:
        return part
    grid = Grid(part.shape, part.affine)
    if place_in(grid, onto) is None:
        return part
    return Stored(onto.shape, onto.affine, lambda: embed(part.load(), grid, onto))


def embed(array: np.ndarray, grid: Grid, onto: Grid) -> np.ndarray:
    """Return a part of a volume at its place in the whole, zero elsewhere."""
    place = place_in(grid, onto)
    if place is None:
        raise ValueError(f"{grid.describe()} is not a part of {onto.describe()}")
    turned = place.turn(array[None])[0]
    placed = np.zeros(onto.shape, array.dtype)
    placed[place.box] = turned
    return placed


@dataclass(frozen=True)
class PlaceIn:
    """Where a part of a volume lies in the whole.

    Args:
        turn: brings its axes into the order and direction of the whole.
        box: box of the whole that the part then fills.
    """

    turn: Turn
    box: tuple[slice, ...]


def place_in(grid: Grid, onto: Grid) -> PlaceIn | None:
    """Return where the voxels of a grid lie among those of another.

    None where they are not among these, to a hundredth of a voxel.
    """
    if grid.ndim != 3 or onto.ndim != 3:
        return None
    between = np.linalg.inv(onto.affine) @ grid.affine
    whole = np.rint(between)
    corner = np.array([*(length - 1 for length in grid.shape), 1.0])
    if np.any(np.abs(between - whole)[:3] @ corner > SAME_VOXEL + ROUNDING):
        return None
    if not np.array_equal(np.abs(whole[:3, :3]) @ np.abs(whole[:3, :3]).T, np.eye(3)):
        return None
    ends = np.stack([whole[:3, 3], (whole @ corner)[:3]])
    low, high = ends.min(axis=0).astype(int), ends.max(axis=0).astype(int)
    if np.any(low < 0) or np.any(high >= onto.shape):
        return None
    order = tuple(int(axis) for axis in np.abs(whole[:3, :3]).argmax(axis=1))
    flips = tuple(axis for axis in range(3) if whole[axis, :3].sum() < 0)
    box = tuple(slice(int(start), int(stop) + 1) for start, stop in zip(low, high, strict=True))
    return PlaceIn(Turn(order, flips), box)
