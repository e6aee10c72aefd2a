"""Maps written on the grid of their source."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from esegeta.volume.grid import Grid
from esegeta.volume.map_header import MapHeader
from esegeta.volume.nifti import space_of, write_nifti
from esegeta.volume.volume import Source, Volume
from esegeta.volume.way_back import on_source

WrittenFormat = Literal["nifti", "dicom", "scores"]
"""What maps and predictions are written as."""

PLAIN = MapHeader()
"""Header of a signed map about which nothing more is said."""


def map_on_source(data: Tensor, volume: Volume) -> np.ndarray:
    """Bring a map `*S` from the volume's grid onto its source's: float32, linear."""
    moved = on_source(data[None], volume, resampling="bilinear")
    return moved[0].detach().cpu().numpy().astype(np.float32)


def write_map(path: Path, data: Tensor, volume: Volume, header: MapHeader = PLAIN) -> None:
    """Write a map `*S` of the volume's grid as NIfTI on its source's grid."""
    write_map_on_source(path, map_on_source(data, volume), volume.source, header)


def write_map_on_source(
    path: Path, array: Shaped[np.ndarray, "*T"], source: Source, header: MapHeader = PLAIN
) -> None:
    """Write a map `*T` that lies on a source's own grid as NIfTI."""
    write_nifti(path, array, source, intent="estimate", words=header)


def write_map_on_grid(
    path: Path, data: Tensor, grid: Grid, volume: Volume, header: MapHeader = PLAIN
) -> None:
    """Write a map `*G` as NIfTI on a grid of its own, in the space of a volume's source."""
    array = data.detach().cpu().numpy().astype(np.float32)
    space = space_of(volume.source)
    write_nifti(path, array, Source(grid), intent="estimate", space=space, words=header)


def write_source_map(path: Path, data: Shaped[Tensor, "*T"], source: Source) -> None:
    """Write values from 0 up, `*T`, such as probabilities, that lie on a source's own grid."""
    write_nifti(path, data.detach().cpu().numpy().astype(np.float32), source, intent="none")
