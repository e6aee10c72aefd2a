"""A map in numbers: how much of it lies in which channel and in which region of an atlas."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Integer
from torch import Tensor

from esegeta.errors import GridError
from esegeta.explain.attribution import Attribution

OUTSIDE = "outside"
"""The region of integer 0, unless it has a name of its own."""

LARGEST_COUNTED = 1 << 20
"""Integers of an atlas above this, or below zero, are numbered anew before they are counted."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Regions of a volume, one integer a voxel.

    Args:
        name: of the atlas, for the table.
        integers: `*S` on the volume's grid; 0 is outside of all regions.
        names: of integers; those without one are called by their number. A named region that no
            voxel belongs to has a row all the same.
    """

    name: str
    integers: Integer[Tensor, "*S"]
    names: Mapping[int, str] = field(default_factory=dict)

    def name_of(self, integer: int) -> str:
        """Return the name of a region."""
        return self.names.get(integer, OUTSIDE if integer == 0 else str(integer))


@dataclass(frozen=True)
class RegionRow:
    """What one channel of a map holds in one region.

    Args:
        atlas: name of the atlas; `image` is the whole volume as one region.
        region: name of the region.
        channel: name of the input channel; `all` where the map does not separate them.
        share: of the sum of magnitudes over all regions and channels, in 0..1; the shares of an
            atlas add up to 1.
        signed_sum: sum of the map over the region's voxels, in the map's unit.
        volume_ml: of the region; NaN for pictures, whose pixels have no size.
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


def aggregate(attribution: Attribution, *atlases: Atlas) -> list[RegionRow]:
    """Return how much of a map lies in which channel and region, by atlas, region, channel.

        share(c, r) = sum_{v in r} |a[c, v]| / sum_{c, v} |a[c, v]|

    Sums are over the voxels of the network's grid, in float64. The first rows are of the whole
    image: the share of each channel.

    Args:
        attribution: the map.
        atlases: label maps on the grid of the attribution's volume.

    Raises:
        GridError: an atlas has another shape than the map.
    """
    whole = torch.zeros(attribution.volume.grid.shape, dtype=torch.uint8)
    image = Atlas("image", whole.to(attribution.data.device), {0: "all"})
    return [row for atlas in (image, *atlases) for row in _rows(attribution, atlas)]


def _rows(attribution: Attribution, atlas: Atlas) -> list[RegionRow]:
    data, volume = attribution.data, attribution.volume
    if tuple(atlas.integers.shape) != volume.grid.shape:
        raise GridError(
            f"atlas {atlas.name}: {tuple(atlas.integers.shape)} voxels, but the map has "
            f"{volume.grid.shape}",
            hint="load it with the orientation and spacing of the image",
        )
    flat, present = _numbered(atlas.integers.to(data.device))
    integers = sorted({*present, *(integer for integer in atlas.names if integer != 0)})
    counts = _spread(torch.bincount(flat, minlength=len(present)), present, integers)
    channels = volume.channels if attribution.has_channels else ("all",)
    sums: list[list[float]] = []
    magnitudes: list[list[float]] = []
    for plane in data:
        values = plane.flatten().double()
        for totals, weights in ((sums, values), (magnitudes, values.abs())):
            found = torch.bincount(flat, weights=weights, minlength=len(present))
            totals.append(_spread(found, present, integers))
    total = math.fsum(value for row in magnitudes for value in row)
    rows = []
    for place, integer in enumerate(integers):
        volume_ml = counts[place] * volume.voxel_volume_ml
        for channel, signed, magnitude in zip(channels, sums, magnitudes, strict=True):
            rows.append(
                RegionRow(
                    atlas.name,
                    atlas.name_of(integer),
                    channel,
                    magnitude[place] / total if total else math.nan,
                    signed[place],
                    volume_ml,
                    signed[place] / volume_ml if volume_ml else math.nan,
                    magnitude[place] / volume_ml if volume_ml else math.nan,
                )
            )
    return rows


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


def _spread(values: Tensor, present: list[int], integers: list[int]) -> list[float]:
    """Return the values by region, zero for regions that no voxel belongs to."""
    found = dict(zip(present, values.tolist(), strict=True))
    return [float(found.get(integer, 0)) for integer in integers]
