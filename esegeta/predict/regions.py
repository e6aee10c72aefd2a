"""Regions of a volume, which may overlap: the parts that they cut it into, or lists of voxels.

With R large regions a voxel is looked at once, by its part, and not R times. Many small ones, such
as patches, are lists: only their own voxels are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import LabelMap, Mask

REGIONS_AT_A_TIME = 12


@runtime_checkable
class Averaging(Protocol):
    """Regions that maps can be averaged over."""

    def means(self, values: Float[Tensor, "K *S"]) -> Float[Tensor, "R K"]:
        """Return the mean of each map over each region, float64; NaN where a region is empty."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Which part each voxel is in, and which regions each part belongs to.

    Args:
        parts: of the flattened volume, counted from 0.
        members: which part belongs to which region.
    """

    parts: Int[Tensor, " N"]
    members: Bool[Tensor, "M R"]

    @classmethod
    def of_map(cls, numbers: LabelMap) -> Regions:
        """Return the regions that a map numbers from 1; voxels of 0 are in none.

        Region r of the map is r - 1 here, and those up to the largest number that do not occur
        are empty.
        """
        count = int(numbers.max())
        members = torch.eye(count + 1, dtype=torch.bool, device=numbers.device)[:, 1:]
        return cls(numbers.reshape(-1), members)

    @classmethod
    def of_masks(cls, masks: Sequence[Mask]) -> Regions:
        """Return the regions that masks of one shape mark."""
        return cls(*cut_by_masks(masks))

    @property
    def num_regions(self) -> int:
        """R."""
        return int(self.members.shape[1])

    @cached_property
    def sizes(self) -> Int[Tensor, " R"]:
        """Number of voxels of each region."""
        of_parts = torch.bincount(self.parts, minlength=len(self.members))
        of_regions = of_parts.double()[None] @ self.members.double()  # exact up to 2^53
        return of_regions[0].long()

    def means(self, values: Float[Tensor, "K *S"]) -> Float[Tensor, "R K"]:
        """Return the mean of each map over each region, float64; NaN where a region is empty."""
        of_parts = values.new_zeros((len(values), len(self.members)), dtype=torch.float64)
        of_parts.index_add_(1, self.parts.int(), values.flatten(1).double())
        sums = of_parts @ self.members.double()
        return (sums / self.sizes).T


@dataclass(frozen=True, eq=False)
class VoxelLists:
    """Regions as lists of voxels, end to end.

    Args:
        voxels: indices into the flattened volume.
        owners: the region of each of them, from 0.
        num_regions: R.
    """

    voxels: Int[Tensor, " M"]
    owners: Int[Tensor, " M"]
    num_regions: int

    @classmethod
    def of(cls, lists: Sequence[VoxelLists]) -> VoxelLists:
        """Return all regions of some lists, one after the other."""
        firsts = [0]
        for one in lists:
            firsts.append(firsts[-1] + one.num_regions)
        owners = [one.owners + first for one, first in zip(lists, firsts, strict=False)]
        return cls(torch.cat([one.voxels for one in lists]), torch.cat(owners), firsts[-1])

    @cached_property
    def sizes(self) -> Int[Tensor, " R"]:
        """Number of voxels of each region."""
        return torch.bincount(self.owners, minlength=self.num_regions)

    def means(self, values: Float[Tensor, "K *S"]) -> Float[Tensor, "R K"]:
        """Return the mean of each map over each region, float64; NaN where a region is empty."""
        sums = values.new_zeros((len(values), self.num_regions), dtype=torch.float64)
        sums.index_add_(1, self.owners, values.flatten(1)[:, self.voxels].double())
        return (sums / self.sizes).T


def cut_by_masks(masks: Sequence[Mask]) -> tuple[Tensor, Tensor]:
    """Return the part of each voxel, int32, and the masks that each part belongs to, `M R`."""
    first = masks[0]
    parts = torch.zeros(first.numel(), dtype=torch.int32, device=first.device)
    members = torch.zeros((1, 0), dtype=torch.bool, device=first.device)
    for start in range(0, len(masks), REGIONS_AT_A_TIME):
        some = masks[start : start + REGIONS_AT_A_TIME]
        parts.mul_(1 << len(some))
        for place, mask in enumerate(reversed(some)):
            parts.add_(mask.reshape(-1), alpha=1 << place)
        parts, members = _renumbered(parts, members, len(some))
    return parts, members


def _renumbered(parts: Tensor, members: Tensor, num_new: int) -> tuple[Tensor, Tensor]:
    """Number the parts that occur from 0, after `num_new` bits were put behind their numbers."""
    size = len(members) << num_new
    present = torch.bincount(parts, minlength=size).nonzero()[:, 0]
    numbers = torch.zeros(size, dtype=torch.int32, device=parts.device)
    numbers[present] = torch.arange(len(present), dtype=torch.int32, device=parts.device)
    shifts = torch.arange(num_new - 1, -1, -1, device=parts.device)
    new = ((present[:, None] >> shifts) & 1).bool()
    return numbers[parts.long()], torch.cat([members[present >> num_new], new], dim=1)
