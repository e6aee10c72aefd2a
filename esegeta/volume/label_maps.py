"""Label maps from files and to files: integers, and exactly those.

Atlases number their regions up to 2^32 and reconstructions their cells up to 2^63, which float32
merges from 2^24 on and float64 from 2^53 on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap
from esegeta.errors import DataError
from esegeta.volume.alignment import require_same_grid
from esegeta.volume.case import Case
from esegeta.volume.files import read_label_file
from esegeta.volume.grid import Grid
from esegeta.volume.kinds import is_picture
from esegeta.volume.nifti import write_nifti
from esegeta.volume.preprocess import Preprocess
from esegeta.volume.reading import Reading, ReadingWarning
from esegeta.volume.volume import Source, Volume
from esegeta.volume.way_back import on_source

NEARLY = 1e-2
"""Values are integers where scale factors have moved them by no more than this."""
EXACT_IN_FLOAT32 = 2**24
STORED = (np.uint8, np.int32, np.uint32, np.int64)
"""The types in which label maps are written: the first that holds them."""


def read_label_map(path: Path, volume: Volume, preprocess: Preprocess | None = None) -> LabelMap:
    """Read a label map and bring it onto the volume's grid, nearest neighbour, int64.

    It goes the way that the image went; `preprocess` counts only where the volume went none.

    Values within 0.01 of an integer are rounded, with a `ReadingWarning`; NaN and Inf are 0 where
    the image was read so, and refused otherwise.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not hold the voxels of the volume's file.
    """
    source = volume.source
    axes = source.picture_axes or "yx"
    file = read_label_file(
        path, Reading(1, source.grid.ndim, picture_axes=axes, layout=source.layout), source.grid
    )
    if len(file.array) != 1:
        raise DataError(
            f"{path}: a label map of {len(file.array)} channels",
            hint="give one map that holds the integer of the label at each voxel",
        )
    image = source.paths[0] if source.paths else Path("the image")
    turn = require_same_grid(volume.name, image, source.grid, path, file.grid)
    integers = torch.from_numpy(np.ascontiguousarray(_integers(turn(file.array), path, source)))
    route = volume.route
    if not route.moves and preprocess is not None:
        route = preprocess.route(source.grid)
    return _exactly(integers, lambda data: route.move(data, source.grid, resampling="nearest")[0])[
        0
    ]


def read_source_labels(path: Path, name: str, source: Source) -> LabelMap:
    """Read a label map that holds the voxels of a case's file, and leave it on that grid.

    Args:
        path: path of the label map.
        name: name of the case.
        source: its image's file.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not hold the voxels of that file.
    """
    # A volume without a channel, that went nowhere.
    still = Volume(torch.zeros((0, *source.grid.shape)), source.grid, source, name=name)
    return read_label_map(path, still)


def read_labels_of_case(path: Path, case: Case, grid: Grid, reading: Reading) -> LabelMap:
    """Read a label map of a case on the grid of its image's file, without reading the image.

    Args:
        path: path of the label map.
        case: the case.
        grid: grid of its image's file.
        reading: how its image is read.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not hold the voxels of that file.
    """
    axes = reading.picture_axes if is_picture(case.images[0]) else None
    layout = reading.with_spacing(case.spacing_mm).layout
    source = Source(grid, None, case.images, axes, reading.nan_to_zero, layout)
    return read_source_labels(path, case.name, source)


def write_label_map(path: Path, labels: LabelMap, volume: Volume) -> None:
    """Write a label map `*S` of the volume's grid on its source's grid, nearest neighbour."""
    moved = _exactly(
        labels[None].long(), lambda data: on_source(data, volume, resampling="nearest")
    )
    write_source_labels(path, moved[0], volume.source)


def write_source_labels(path: Path, labels: LabelMap, source: Source) -> None:
    """Write a label map `*T` that lies on a source's own grid."""
    array = labels.cpu().numpy()
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    dtype = next(
        kind for kind in STORED if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max
    )
    write_nifti(path, array.astype(dtype), source, intent="label")


def _exactly(integers: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
    """Move integers through a step that may compute in float32, without losing any."""
    low, high = (int(value) for value in torch.aminmax(integers))
    if max(-low, high) <= EXACT_IN_FLOAT32:
        return move(integers)
    present, numbers = torch.unique(integers, return_inverse=True)
    moved: Tensor = present[move(numbers)]
    return moved


def _integers(array: np.ndarray, path: Path, source: Source) -> np.ndarray:
    """Return the values `1 *S` of a label map as int64."""
    if array.dtype.kind == "f":
        array = _rounded(_without_nan(array.astype(np.float64), path, source), path, source)
    beyond = (array > np.iinfo(np.int64).max) | (array < np.iinfo(np.int64).min)
    # As a float the largest int64 is 2^63, which it does not hold.
    if array.dtype.kind == "f":
        beyond |= array >= 2.0**63
    if beyond.any():
        raise DataError(
            f"{path}: a label map must hold integers of up to 63 bits; {int(beyond.sum())} voxels "
            f"are beyond, such as {array[beyond].flat[0]:.0f}",
            hint="renumber the labels",
        )
    return array.astype(np.int64)


def _without_nan(values: np.ndarray, path: Path, source: Source) -> np.ndarray:
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    if source.nan_to_zero:
        return np.where(bad, 0.0, values)
    raise DataError(
        f"{path}: a label map must hold integers; {_count(bad)} NaN or Inf, the first at "
        f"{_first(bad, source)}",
        hint="fix the map, or allow it with `data: {nan: zero}`, which makes them background",
    )


def _rounded(values: np.ndarray, path: Path, source: Source) -> np.ndarray:
    integers: np.ndarray = np.rint(values)
    apart = np.abs(values - integers)
    if (wrong := apart > NEARLY).any():
        raise DataError(
            f"{path}: a label map must hold integers; {_count(wrong)} not, the first "
            f"{values[wrong].flat[0]:.6g} at {_first(wrong, source)}",
            hint="is it a probability map?",
        )
    if (moved := apart > 0).any():
        worst = np.unravel_index(int(apart.argmax()), apart.shape)
        warnings.warn(
            f"{path}: {_count(moved)} not quite integers and were rounded, such as "
            f"{values[worst]:.7g} to {integers[worst]:.0f}; scale factors can cause this",
            ReadingWarning,
            stacklevel=2,
        )
    return integers


def _count(found: np.ndarray) -> str:
    count = int(found.sum())
    return f"{count} voxel{'s are' if count != 1 else ' is'}"


def _first(found: np.ndarray, source: Source) -> str:
    return source.describe_place([int(value) for value in np.argwhere(found)[0][1:]])
