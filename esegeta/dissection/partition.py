"""Concepts that overlap, as parts that do not: one number a voxel says which concepts it is of.

With K concepts a unit's mask is counted once, by part, and not K times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from esegeta.axes import Mask

CONCEPTS_AT_A_TIME = 12


@dataclass(frozen=True, eq=False)
class Partition:
    """Which part each voxel is in, and which concepts each part belongs to.

    Args:
        parts: of the flattened volume, counted from 0, int32.
        members: which part belongs to which concept.
    """

    parts: Int[Tensor, " N"]
    members: Bool[Tensor, "M K"]

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> Partition:
        """Return the parts that some masks of one shape cut a volume into."""
        first = masks[0]
        parts = torch.zeros(first.numel(), dtype=torch.int32, device=first.device)
        members = torch.zeros((1, 0), dtype=torch.bool, device=first.device)
        for start in range(0, len(masks), CONCEPTS_AT_A_TIME):
            some = masks[start : start + CONCEPTS_AT_A_TIME]
            parts.mul_(1 << len(some))
            for place, mask in enumerate(reversed(some)):
                parts.add_(mask.reshape(-1), alpha=1 << place)
            parts, members = _renumbered(parts, members, len(some))
        return cls(parts, members)

    @property
    def num_parts(self) -> int:
        """M."""
        return int(self.members.shape[0])

    @property
    def num_voxels(self) -> int:
        """N."""
        return self.parts.numel()

    @cached_property
    def sizes(self) -> Int[Tensor, " K"]:
        """Number of voxels of each concept."""
        counts = torch.bincount(self.parts, minlength=self.num_parts)
        return self.of_concepts(counts[None])[0]

    def of_concepts(self, counts: Int[Tensor, "U M"]) -> Int[Tensor, "U K"]:
        """Return counts by concept, given counts by part; exact up to 2^53."""
        # A GPU multiplies no integer matrices, and float64 holds these integers.
        return (counts.double() @ self.members.double()).long()


def _renumbered(parts: Tensor, members: Tensor, num_new: int) -> tuple[Tensor, Tensor]:
    """Number the parts that occur from 0, after `num_new` bits were put behind their numbers."""
    size = len(members) << num_new
    present = torch.bincount(parts, minlength=size).nonzero()[:, 0]
    numbers = torch.zeros(size, dtype=torch.int32, device=parts.device)
    numbers[present] = torch.arange(len(present), dtype=torch.int32, device=parts.device)
    shifts = torch.arange(num_new - 1, -1, -1, device=parts.device)
    new = ((present[:, None] >> shifts) & 1).bool()
    return numbers[parts.long()], torch.cat([members[present >> num_new], new], dim=1)
