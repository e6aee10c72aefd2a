"""Label maps on the grid of an image's file, and on that of the volume made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from esegeta.axes import LabelMap, shape_text
from esegeta.errors import DataError, GridError
from esegeta.volume import Orient, Preprocess, Respace, Volume, read_label_map, write_source_labels


def label_integers(given: Tensor | NDArray[np.generic], name: str) -> LabelMap:
    """Return a label map of integers from a tensor or a numpy array; `name` is for messages.

    Raises:
        DataError: its values are not integers.
    """
    if isinstance(given, np.ndarray):
        if given.dtype.kind not in "biuf":
            raise DataError(
                f"{name}: a label map must hold integers (found {given.dtype})",
                hint="give an array of an integer type",
            )
        # Torch knows neither other byte orders, negative strides nor all unsigned types.
        kind = np.float64 if given.dtype.kind == "f" else np.int64
        given = torch.from_numpy(np.array(given, dtype=kind, order="C"))
    integers = given.long()
    if not torch.equal(integers.to(given.dtype), given):
        raise DataError(f"{name}: a label map must hold integers")
    return integers


def save_label_map(
    path: str | Path, label_map: LabelMap | NDArray[np.generic], volume: Volume
) -> None:
    """Write a label map that `SegmentationModel.predict` returned, on the grid of the image's file.

    Args:
        path: path of a .nii or .nii.gz file.
        label_map: `*T` on the grid of the volume's source.
        volume: the image.

    Raises:
        DataError: its values are not integers.
        GridError: the map does not have that shape.
    """
    integers = label_integers(label_map, "label_map")
    require_shape_of_file(integers, volume, "label_map")
    write_source_labels(Path(path), integers, volume.source)


def require_shape_of_file(label_map: Tensor, volume: Volume, name: str) -> None:
    """Refuse a label map that is not on the grid of the image's file; `name` is for messages.

    Raises:
        GridError: its shape is different.
    """
    source = volume.source.grid
    if tuple(label_map.shape) != source.shape:
        raise GridError(
            f"{name}: {shape_text(tuple(label_map.shape))} voxels, but the image's file has "
            f"{shape_text(source.shape)}",
            hint="give a label map on the grid of the image's file, as model.predict returns it",
        )


def load_label_map(
    path: str | Path,
    volume: Volume,
    *,
    orientation: str | None = None,
    spacing_mm: Sequence[float] | None = None,
) -> LabelMap:
    """Load a ground truth onto the grid of a volume, for `SegmentationModel.freeze`.

    It takes the same steps as the volume: orientation, spacing, boxes and order of axes.

    Args:
        path: file of label integers on the grid of the volume's file.
        volume: the volume, as `load_volume` returned it.
        orientation: no longer needed; if given, it must be that of the volume.
        spacing_mm: spacing in mm, likewise.

    Raises:
        DataError: the values are not integers.
        GridError: the map does not lie on the grid of the volume's file, or orientation and
            spacing are not those of the volume.
    """
    spacing = tuple(float(value) for value in spacing_mm) if spacing_mm else None
    labels = read_label_map(Path(path), volume, Preprocess(orientation, spacing))
    same = _went_so(volume, orientation, spacing)
    if not same or tuple(labels.shape) != volume.grid.shape:
        raise GridError(
            f"{path}: {shape_text(tuple(labels.shape))} voxels, but the volume has "
            f"{shape_text(volume.grid.shape)}"
            if same
            else f"{path}: the volume was not loaded with this orientation and spacing_mm",
            hint="give orientation and spacing_mm as for the image, or leave both out",
        )
    return labels


def _went_so(volume: Volume, orientation: str | None, spacing_mm: tuple[float, ...] | None) -> bool:
    """Tell whether a volume has this orientation and spacing, where they are given."""
    moves = volume.route.moves
    if not moves:
        return True
    turned = orientation is None or Orient(orientation) in moves
    spacings = [move.spacing_mm for move in moves if isinstance(move, Respace)]
    return turned and (spacing_mm is None or spacing_mm in spacings)
