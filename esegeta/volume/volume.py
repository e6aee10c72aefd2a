"""A volume: an image, its geometry, and what is needed to put a map back where it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from esegeta.axes import Image, Mask, shape_text
from esegeta.errors import DataError
from esegeta.volume.grid import Grid, grid_of_spacing
from esegeta.volume.intensity_rules import Span
from esegeta.volume.picture import PictureAxes
from esegeta.volume.reading import Layout
from esegeta.volume.route import Route
from esegeta.volume.space import Flip

if TYPE_CHECKING:
    from esegeta.volume.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class Source:
    """The files an image came from, and the grid that its maps must return to.

    Args:
        grid: the grid of the file on disk, before any preprocessing.
        header: the NIfTI header as it stands in the file, or None for pictures and tensors.
        paths: the files read, one per channel; empty for tensors.
        picture_axes: for pictures, which axis of the array comes first; None for other images.
        nan_to_zero: whether NaN and Inf were taken for 0, which holds for its label maps too.
        layout: what the user said about the arrays in files; it holds for the label maps too.
        series: the series of a DICOM folder that was read; empty where the folder holds only one.
    """

    grid: Grid
    header: bytes | None = None
    paths: tuple[Path, ...] = ()
    picture_axes: PictureAxes | None = None
    nan_to_zero: bool = False
    layout: Layout = field(default=Layout())
    series: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether it is a picture, which has pixels of unknown size, and no sides of a patient."""
        return self.picture_axes is not None

    @property
    def is_colour(self) -> bool:
        """Whether its channels are the red, green and blue of one picture."""
        return self.is_picture and len(self.paths) == 1

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel of the file; NaN for pictures, whose pixels have none."""
        return math.nan if self.is_picture else self.grid.voxel_volume_ml

    def describe(self, grid: Grid) -> str:
        """Return a grid of this image in one line: in mm, or in pixels where they have no size."""
        if not self.is_picture:
            return grid.describe()
        size = "" if np.allclose(grid.spacing_mm, 1) else f" of {_lengths(grid)} of the picture's"
        return f"{shape_text(grid.shape)} pixels{size}"

    def describe_place(self, index: Sequence[int]) -> str:
        """Return where a voxel of the file lies: its index, and mm where they are known."""
        if self.is_picture:
            return f"pixel {tuple(index)}"
        place = ", ".join(f"{value:.1f}" for value in self.grid.to_mm(index))
        return f"voxel {tuple(index)} = ({place}) mm"


def _lengths(grid: Grid) -> str:
    return "x".join(f"{value:.4g}" for value in grid.spacing_mm)


@dataclass(frozen=True, eq=False)
class Provenance:
    """What an image was before preprocessing, and what was done to it.

    Args:
        image: `C *T` on the grid of the file, in the file's own grey values, on the host.
        chain: the steps.
    """

    image: Image
    chain: Preprocess


@dataclass(frozen=True, eq=False)
class Volume:
    """An image as the network takes it, with its geometry.

    Args:
        data: float32, `C *S`, after preprocessing.
        grid: grid of these voxels.
        source: file or array that maps are written back to.
        name: the case.
        channels: a name for each channel.
        route: the way from the source's grid to `grid`; label maps of the source go it too.
        spans: between which values the steps of preprocessing leave each channel, to be drawn
            black and white; None where the image decides it, empty where no step was taken.
        origin: the image before preprocessing, and the steps taken; None where that is not known.
    """

    data: Float[Tensor, "C *S"]
    grid: Grid
    source: Source
    name: str = "case"
    channels: tuple[str, ...] = field(default=())
    route: Route = field(default=Route())
    spans: tuple[Span | None, ...] = ()
    origin: Provenance | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """One line: which case, how many channels, and where its voxels lie."""
        channels = "1 channel" if self.num_channels == 1 else f"{self.num_channels} channels"
        place = f"{self.grid.describe()}, {self.data.dtype} on {self.data.device}"
        return f"<Volume {self.name}: {channels}, {place}>".replace("torch.", "")

    def numpy(self) -> NDArray[np.float32]:
        """Return the data as an array `C *S`, on the CPU."""
        array: NDArray[np.float32] = self.data.detach().cpu().numpy()
        return array

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
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel of the network's grid; NaN for pictures, whose pixels have none."""
        return math.nan if self.source.is_picture else self.grid.voxel_volume_ml

    @cached_property
    def inside(self) -> Mask | None:
        """The voxels that are not padding, `*S`; None where nothing was padded."""
        mask = self.route.inside(self.source.grid)
        return None if mask is None else mask.to(self.data.device)

    @property
    def is_colour(self) -> bool:
        """Whether the channels are the red, green and blue of one picture."""
        return self.source.is_colour and self.num_channels == 3

    @property
    def affine(self) -> np.ndarray:
        """Voxel indices to RAS millimetres, float64, 4 x 4."""
        return self.grid.affine

    @property
    def batch(self) -> Float[Tensor, "1 C *S"]:
        """The data with a batch axis of one."""
        return self.data[None]

    def to(self, device: torch.device | str) -> Volume:
        """Return the same volume with its data on `device`.

        Args:
            device: such as `cuda:0`.
        """
        return replace(self, data=self.data.to(device))

    def with_data(self, data: Image) -> Volume:
        """Return a volume on the same grids with other data, whose origin is not known.

        Args:
            data: image `C *S`, on the same grid.
        """
        return replace(self, data=data, origin=None)

    def flipped(self, axis: int) -> Volume:
        """Return the volume with a spatial axis stored from its other end.

        The network sees a mirrored image; each voxel keeps its place in the patient.

        Args:
            axis: spatial axis, from 0.
        """
        flip = Flip(axis)
        return replace(
            self,
            data=flip.apply(self.data, self.grid, resampling="nearest"),
            grid=flip.onto(self.grid),
            route=self.route.then(flip),
        )


def without_size(name: str, key: str) -> DataError:
    """Return the refusal of a key in ml for a picture."""
    return DataError(
        f"{name}: {key} is in ml, but a picture has pixels, whose size is not known",
        hint="give the image as NIfTI with its spacing, or leave the key out",
    )


def volume_from_tensor(
    data: Tensor | NDArray[np.generic],
    spacing_mm: Sequence[float] | None = None,
    *,
    affine: np.ndarray | None = None,
    name: str = "case",
    channels: Sequence[str] = (),
) -> Volume:
    """Return a volume from a tensor `C *S` in memory; maps go back to this same grid.

    Args:
        data: `C *S`, a tensor or a numpy array of real, finite numbers, as the network takes them.
        spacing_mm: spacing of each spatial axis; 1 mm when neither it nor an affine is given.
        affine: voxel to RAS mm, 4 x 4, instead of `spacing_mm`.
        name: the case.
        channels: a name for each channel.

    Raises:
        DataError: the data has no channel or no voxel, other than 2 or 3 spatial axes, or a value
            that is not finite; or spacing, affine or channels do not fit it.
    """
    values = _real_numbers(torch.as_tensor(data), name)
    shape = tuple(values.shape[1:])
    _require_lengths(shape, spacing_mm, affine, name)
    if affine is None:
        grid = grid_of_spacing(shape, spacing_mm or (1.0,) * len(shape))
    else:
        grid = Grid(shape, np.asarray(affine, dtype=np.float64))
    return Volume(values, grid, Source(grid), name=name, channels=tuple(channels))


def _real_numbers(data: Tensor, name: str) -> Float[Tensor, "C *S"]:
    """Return an image as float32, or refuse what no network could be explained on."""
    if data.ndim not in (3, 4):
        raise DataError(
            f"{name}: data: has the shape {tuple(data.shape)}",
            hint="give `C *S`: channels first, then 2 or 3 spatial axes; data[None] adds a channel",
        )
    if data.numel() == 0:
        raise DataError(f"{name}: data: has the shape {tuple(data.shape)}, so it holds no voxel")
    if data.is_complex():
        raise DataError(f"{name}: data: is {data.dtype}, not real numbers", hint="give data.abs()")
    values = data.detach().float()
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        count = "1 value is" if bad == 1 else f"{bad} values are"
        raise DataError(
            f"{name}: data: {count} NaN, infinite or too large for float32",
            hint="replace them, such as by torch.nan_to_num(data)",
        )
    return values


def _require_lengths(
    shape: Sequence[int],
    spacing_mm: Sequence[float] | None,
    affine: np.ndarray | None,
    name: str,
) -> None:
    """Refuse a spacing or an affine that does not fit the axes of an image."""
    if spacing_mm is not None and affine is not None:
        raise DataError(f"{name}: give spacing_mm or affine, not both")
    if spacing_mm is not None and (
        len(spacing_mm) != len(shape) or not all(0 < item < math.inf for item in spacing_mm)
    ):
        raise DataError(
            f"{name}: spacing_mm: {list(spacing_mm)} does not fit {len(shape)} axes",
            hint="give a length above 0 for each",
        )
    if affine is not None and not _has_inverse(affine):
        raise DataError(f"{name}: affine: should be 4 x 4, and have an inverse")


def _has_inverse(affine: np.ndarray) -> bool:
    if np.shape(affine) != (4, 4) or not np.isfinite(affine).all():
        return False
    return bool(np.linalg.det(affine))
