"""A map in numbers: how much of it lies in which channel and in which region of an atlas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Integer, Shaped
from torch import Tensor

from esegeta.axes import Mask
from esegeta.errors import GridError
from esegeta.explain.attribution import Attribution

OUTSIDE = "outside"
"""The region of integer 0, unless it has a name of its own."""

LARGEST_COUNTED = 1 << 20
"""Integers of an atlas above this, or below zero, are numbered anew before they are counted."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Regions of a volume, one integer per voxel.

    Args:
        name: name of the atlas, for the table.
        integers: `*S` on the volume's grid; 0 is outside of all regions.
        names: names of integers; those without one are called by their number. A named region that
            no voxel belongs to has a row all the same.
    """

    name: str
    integers: Integer[Tensor, "*S"]
    names: Mapping[int, str] = field(default_factory=dict)

    def name_of(self, integer: int) -> str:
        """Return the name of a region.

        Args:
            integer: value of the region in the atlas.
        """
        return self.names.get(integer, OUTSIDE if integer == 0 else str(integer))


@dataclass(frozen=True, eq=False)
class OverlappingAtlas:
    """Regions of a volume that may overlap, such as the nested labels of a tumour.

    Args:
        name: name of the atlas, for the table.
        masks: `*S` on the volume's grid, by the name of the region.
    """

    name: str
    masks: Mapping[str, Mask]


@dataclass(frozen=True)
class RegionRow:
    """What one channel of a map holds in one region.

    Args:
        atlas: name of the atlas; `image` is the whole volume as one region.
        region: name of the region.
        channel: name of the input channel; `all` where the map does not separate them.
        share: fraction of the sum of magnitudes over all voxels and channels, in 0..1; the shares
            of an atlas add up to 1, unless its regions overlap.
        signed_sum: sum of the map over the region's voxels, in the map's unit; where a method
            paints a feature with its worth, each of its n voxels holds 1 / n of it.
        volume_ml: volume of the region in ml; NaN for pictures, whose pixels have no size.
        per_ml: signed sum per ml; NaN where the region is empty, and for pictures.
        magnitude_per_ml: sum of magnitudes per ml, likewise.
    """

    atlas: str
    region: str
    channel: str
    share: float
    signed_sum: float
    volume_ml: float
    per_ml: float
    magnitude_per_ml: float


def aggregate(attribution: Attribution, *atlases: Atlas | OverlappingAtlas) -> list[RegionRow]:
    """Return how much of a map lies in which channel and region, by atlas, region, channel.

        share(c, r) = sum_{v in r} |a[c, v]| / sum_{c, v} |a[c, v]|

    Sums are over the voxels of the network's grid, in float64, of the map's density: what one
    value stands for together counts once, however many voxels it is painted over. Voxels of
    padding are in no row. The first rows are of the whole image: the share of each channel.

    Args:
        attribution: the map.
        atlases: regions on the grid of the attribution's volume.

    Raises:
        GridError: an atlas has another shape than the map.
    """
    whole = torch.zeros(attribution.volume.grid.shape, dtype=torch.uint8)
    image = Atlas("image", whole.to(attribution.data.device), {0: "all"})
    return [row for atlas in (image, *atlases) for row in _rows(attribution, atlas)]


def _rows(attribution: Attribution, atlas: Atlas | OverlappingAtlas) -> list[RegionRow]:
    volume, device = attribution.volume, attribution.data.device
    _require_shape(atlas, volume.grid.shape)
    inside = volume.inside
    regions: _IntegerRegions | _MaskRegions
    if isinstance(atlas, Atlas):
        regions = _IntegerRegions(atlas, device, inside)
    else:
        regions = _MaskRegions(atlas, inside)
    channels = volume.channels if attribution.has_channels else ("all",)
    signed, magnitudes, totals = [], [], []
    for place in range(len(channels)):
        values = _counted(_density(attribution, place), inside)
        signed.append(regions.sums(values))
        magnitudes.append(regions.sums(values.abs()))
        totals.append(float(values.abs().sum()))
    if isinstance(atlas, Atlas):  # no voxel is in two regions, and none in none
        totals = [value for row in magnitudes for value in row]
    total = math.fsum(totals)
    rows = []
    for place, (region, count) in enumerate(zip(regions.names, regions.counts, strict=True)):
        volume_ml = count * volume.voxel_volume_ml
        for channel, sums, sizes in zip(channels, signed, magnitudes, strict=True):
            rows.append(
                RegionRow(
                    atlas.name,
                    region,
                    channel,
                    sizes[place] / total if total else math.nan,
                    sums[place],
                    volume_ml,
                    sums[place] / volume_ml if volume_ml else math.nan,
                    sizes[place] / volume_ml if volume_ml else math.nan,
                )
            )
    return rows


def _require_shape(atlas: Atlas | OverlappingAtlas, shape: tuple[int, ...]) -> None:
    held = [atlas.integers] if isinstance(atlas, Atlas) else list(atlas.masks.values())
    for found in held:
        if tuple(found.shape) != shape:
            raise GridError(
                f"atlas {atlas.name}: {tuple(found.shape)} voxels, but the map has {shape}",
                hint="load it with the orientation and spacing of the image",
            )


def _density(attribution: Attribution, place: int) -> Float64[Tensor, " N"]:
    """Return what each voxel of one channel of the map holds, in one line."""
    values = attribution.data[place].flatten().double()
    if attribution.sharing is None:
        return values
    return values / attribution.sharing[place].flatten().double()


def _counted(values: Shaped[Tensor, "..."], inside: Mask | None) -> Shaped[Tensor, " N"]:
    """Return the values of the voxels that are not padding, in one line."""
    flat = values.flatten()
    return flat if inside is None else flat[inside.flatten().to(flat.device)]


class _IntegerRegions:
    """The regions of a label map: names, voxels of each, and sums over them."""

    def __init__(self, atlas: Atlas, device: torch.device, inside: Mask | None) -> None:
        self._numbers, self._present = _numbered(_counted(atlas.integers.to(device), inside))
        self._integers = sorted(
            {*self._present, *(integer for integer in atlas.names if integer != 0)}
        )
        self.names = [atlas.name_of(integer) for integer in self._integers]
        self.counts = self._spread(torch.bincount(self._numbers, minlength=len(self._present)))

    def sums(self, values: Float64[Tensor, " N"]) -> list[float]:
        """Return the sum of values over each region."""
        count = len(self._present)
        return self._spread(torch.bincount(self._numbers, weights=values, minlength=count))

    def _spread(self, values: Tensor) -> list[float]:
        """Return the values by region, zero for regions that no voxel belongs to."""
        found = dict(zip(self._present, values.tolist(), strict=True))
        return [float(found.get(integer, 0)) for integer in self._integers]


class _MaskRegions:
    """Regions that may overlap: names, voxels of each, and sums over them."""

    def __init__(self, atlas: OverlappingAtlas, inside: Mask | None) -> None:
        self._masks = [_counted(mask, inside) for mask in atlas.masks.values()]
        self.names = list(atlas.masks)
        self.counts = [float(mask.sum()) for mask in self._masks]

    def sums(self, values: Float64[Tensor, " N"]) -> list[float]:
        """Return the sum of values over each region."""
        return [float(values[mask.to(values.device)].sum()) for mask in self._masks]


def _numbered(integers: Tensor) -> tuple[Tensor, list[int]]:
    """Return a number for each voxel, and the integers that the numbers 0, 1, ... stand for."""
    flat = integers.flatten()
    low, high = (int(extreme) for extreme in torch.aminmax(flat))
    if low >= 0 and high <= LARGEST_COUNTED:
        counts = torch.bincount(flat)
        present = counts.nonzero().flatten()
        if len(present) == high + 1:
            return flat, present.tolist()
        numbers = torch.zeros(high + 1, dtype=torch.int32, device=flat.device)
        numbers[present] = torch.arange(len(present), dtype=torch.int32, device=flat.device)
        return numbers[flat.long()], present.tolist()
    present, numbers = torch.unique(flat, return_inverse=True)
    return numbers, present.tolist()
