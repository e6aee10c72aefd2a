"""What examples are of: cases, slices, components or supervoxels, numbered over a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import LabelMap, Mask
from esegeta.model import connected_components
from esegeta.predict import Regions

ItemKind = Literal["case", "slice", "component", "supervoxel"]

MOST_SIDE = 96
"""Pixels of a thumbnail along its longer side."""


@dataclass(frozen=True, eq=False)
class Numbering:
    """How a volume is cut into items.

    Args:
        kind: what an item is.
        axis: that slices lie along.
        supervoxels: the supervoxel of each voxel, counted from 0; None where none is asked for.
    """

    kind: ItemKind
    axis: int
    supervoxels: Int[Tensor, "*S"] | None = None

    def of(self, mask: Mask) -> LabelMap:
        """Number the items of a mask from 1, 0 outside of all; some numbers may not occur.

        A case is all of the mask, a slice is the mask within it, a component one of the mask's. A
        supervoxel is one of the mask where more than half of it lies there, and is then all of it.
        """
        if self.kind == "case":
            return mask.to(torch.int64)
        if self.kind == "slice":
            length = mask.shape[self.axis]
            along = [length if axis == self.axis else 1 for axis in range(mask.ndim)]
            places = torch.arange(1, length + 1, device=mask.device).reshape(along)
            return places * mask
        if self.kind == "component":
            return connected_components(mask)
        assert self.supervoxels is not None
        return mostly_in(self.supervoxels, mask)


def mostly_in(supervoxels: Int[Tensor, "*S"], mask: Mask) -> LabelMap:
    """Return the supervoxels of which more than half lies in a mask, by their number plus 1."""
    numbers = supervoxels.long()
    sizes = torch.bincount(numbers.flatten())
    held = torch.bincount(numbers[mask], minlength=len(sizes))
    chosen = 2 * held > sizes
    return torch.where(chosen[numbers], numbers + 1, 0)


def regions_of(maps: Sequence[LabelMap]) -> tuple[Regions, list[Int[Tensor, " R"]]]:
    """Return the regions of several maps, which may overlap, and each map's numbers of them.

    Regions of the first map come first, in the order of their numbers.
    """
    code = torch.zeros_like(maps[0]).flatten()
    numbers: list[Tensor] = []
    for one in maps:
        found, places = torch.unique(one.flatten(), return_inverse=True)
        code = torch.unique(code * len(found) + places, return_inverse=True)[1]
        numbers.append(found[found != 0])
    flat = torch.stack([one.flatten() for one in maps])
    first = code.new_zeros(int(code.max()) + 1)
    # Any voxel of a part tells which regions it is in; writing the last one is as good as any.
    first[code] = torch.arange(len(code), device=code.device)
    of_parts = flat[:, first]
    members = [of_parts[place][:, None] == own for place, own in enumerate(numbers)]
    return Regions(code, torch.cat(members, dim=1)), numbers


def thumbnails(
    image: Float[Tensor, "*S"],
    numbers: LabelMap,
    chosen: Int[Tensor, " R"],
    axis: int,
    *,
    spacing_mm: Sequence[float],
) -> tuple[UInt8[Tensor, "R H W"], Bool[Tensor, "R H W"]]:
    """Return a small picture of each item, where most of it is seen, and where it lies in it.

    Args:
        image: from 0 to 1.
        numbers: of the items.
        chosen: which of them.
        axis: that pictures lie along; a 2D image is its own picture.
        spacing_mm: size in mm of the image's voxels: pictures have pixels as long as wide.
    """
    sides_mm = [mm for at, mm in enumerate(spacing_mm) if image.ndim == 2 or at != axis]
    if image.ndim == 2:
        planes = [0] * len(chosen)
        image, numbers = image[None], numbers[None]
    else:
        image, numbers = image.movedim(axis, 0), numbers.movedim(axis, 0)
        planes = _fullest(numbers, chosen)
    pairs = zip(image.shape[1:], sides_mm, strict=True)
    height, width = (length * mm / min(sides_mm) for length, mm in pairs)
    shrink = min(1.0, MOST_SIDE / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    pictures = F.interpolate(image[planes][:, None].float(), size=size, mode="area")[:, 0]
    masks = (numbers[planes] == chosen[:, None, None])[:, None].float()
    within = F.adaptive_max_pool2d(masks, size)[:, 0] > 0.5  # a single voxel must not be lost
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8), within


def _fullest(numbers: Int[Tensor, "P H W"], chosen: Int[Tensor, " R"]) -> list[int]:
    """Return the plane that holds most of each item."""
    size = int(numbers.max()) + 1
    planes = torch.arange(len(numbers), device=numbers.device)[:, None, None]
    counts = torch.bincount((planes * size + numbers).flatten(), minlength=len(numbers) * size)
    best: list[int] = counts.reshape(len(numbers), size).argmax(dim=0)[chosen].tolist()
    return best
