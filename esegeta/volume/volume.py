"""A volume: an image, its geometry, and what is needed to put a map back where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import DataError
from esegeta.volume.grid import Grid, grid_of_spacing
from esegeta.volume.space import Flip, Route


@dataclass(frozen=True, eq=False)
class Source:
    """The files an image came from, and the grid that its maps must return to.

    Args:
        grid: the grid of the file on disk, before any preprocessing.
        header: the NIfTI header as it stands in the file, or None for pictures and tensors.
        paths: the files read, one a channel; empty for tensors.
    """

    grid: Grid
    header: bytes | None = None
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Volume:
    """An image as the network takes it, with its geometry.

    Args:
        data: float32, `C *S`, after preprocessing.
        grid: where those voxels lie.
        source: where maps are written back to.
        name: the case.
        channels: a name for each channel.
        route: the way from the source's grid to `grid`; label maps of the source go it too.
    """

    data: Float[Tensor, "C *S"]
    grid: Grid
    source: Source
    name: str = "case"
    channels: tuple[str, ...] = field(default=())
    route: Route = field(default=Route())

    def __post_init__(self) -> None:
        if tuple(self.data.shape[1:]) != self.grid.shape:
            raise DataError(
                f"{self.name}: the data has spatial shape {tuple(self.data.shape[1:])}, "
                f"its grid {self.grid.shape}"
            )
        if not self.channels:
            names = tuple(str(channel) for channel in range(self.num_channels))
            object.__setattr__(self, "channels", names)
        if len(self.channels) != self.num_channels:
            raise DataError(
                f"{self.name}: {self.num_channels} channels but {len(self.channels)} "
                f"channel names: {', '.join(self.channels)}"
            )

    @property
    def num_channels(self) -> int:
        """Number of input channels."""
        return int(self.data.shape[0])

    @property
    def ndim(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return self.grid.ndim

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to RAS millimetres, float64, 4 x 4."""
        return self.grid.affine

    @property
    def batch(self) -> Float[Tensor, "1 C *S"]:
        """The data with a batch axis of one."""
        return self.data[None]

    def to(self, device: torch.device | str) -> Volume:
        """Return the same volume with its data on `device`."""
        return replace(self, data=self.data.to(device))

    def with_data(self, data: Image) -> Volume:
        """Return a volume on the same grids with other data."""
        return replace(self, data=data)

    def flipped(self, axis: int) -> Volume:
        """Return the volume with a spatial axis stored from its other end.

        The network sees a mirrored image; each voxel keeps its place in the patient.
        """
        flip = Flip(axis)
        return replace(
            self,
            data=flip.apply(self.data, self.grid, resampling="nearest"),
            grid=flip.onto(self.grid),
            route=self.route.then(flip),
        )


def volume_from_tensor(
    data: Float[Tensor, "C *S"],
    spacing_mm: Sequence[float] | None = None,
    *,
    affine: np.ndarray | None = None,
    name: str = "case",
    channels: tuple[str, ...] = (),
) -> Volume:
    """Return a volume from a tensor `C *S` in memory; maps go back to this same grid.

    Args:
        data: `C *S`, in the units that the network takes.
        spacing_mm: of each spatial axis; 1 mm when neither it nor an affine is given.
        affine: voxel to RAS mm, 4 x 4, instead of `spacing_mm`.
        name: the case.
        channels: a name for each channel.
    """
    shape = tuple(data.shape[1:])
    if affine is None:
        grid = grid_of_spacing(shape, spacing_mm or (1.0,) * len(shape))
    else:
        grid = Grid(shape, np.asarray(affine, dtype=np.float64))
    return Volume(data.float(), grid, Source(grid), name=name, channels=channels)
