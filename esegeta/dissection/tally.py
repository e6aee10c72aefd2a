"""The parts that concepts cut a volume into, and what masks of units share with them.

With K concepts a unit's mask is counted once, by part, and not K times.

All counts are int64, so that they are right beyond the 2^24 voxels where float32 stops counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.axes import Mask
from esegeta.dissection.above import Above
from esegeta.dissection.information import entropy
from esegeta.predict import cut_by_masks


@dataclass(frozen=True, eq=False)
class ConceptParts:
    """Which part each voxel is in, and which concepts each part belongs to.

    Args:
        parts: part of each voxel of the flattened volume, counted from 0, int32.
        members: tells which part belongs to which concept.
        counted: tells which parts count: all but that of voxels whose label is not known.
    """

    parts: Int[Tensor, " N"]
    members: Bool[Tensor, "M K"]
    counted: Bool[Tensor, " M"]

    @classmethod
    def of(cls, masks: Sequence[Mask], known: Mask | None = None) -> ConceptParts:
        """Return the parts that some masks of one shape cut a volume into.

        Args:
            masks: masks of the concepts.
            known: voxels that count; all by default.
        """
        if known is None:
            parts, members = cut_by_masks(masks)
            return cls(parts, members, torch.ones_like(members[:, 0]))
        parts, members = cut_by_masks([~known, *(mask & known for mask in masks)])
        return cls(parts, members[:, 1:], ~members[:, 0])

    @property
    def num_parts(self) -> int:
        """M."""
        return int(self.members.shape[0])

    @cached_property
    def _all_count(self) -> bool:
        return bool(self.counted.all())

    @cached_property
    def num_voxels(self) -> int:
        """N, without the voxels that do not count."""
        if self._all_count:
            return self.parts.numel()
        return int(self.of_any(self._part_sizes[None])[0])

    @cached_property
    def sizes(self) -> Int[Tensor, " K"]:
        """Number of voxels of each concept."""
        return self.of_concepts(self._part_sizes[None])[0]

    @cached_property
    def _part_sizes(self) -> Int[Tensor, " M"]:
        return torch.bincount(self.parts, minlength=self.num_parts)

    def of_concepts(self, counts: Int[Tensor, "U M"]) -> Int[Tensor, "U K"]:
        """Return counts by concept, given counts by part; exact up to 2^53."""
        # A GPU multiplies no integer matrices, and float64 holds these integers.
        return (counts.double() @ self.members.double()).long()

    def of_any(self, counts: Int[Tensor, "*any M"]) -> Int[Tensor, "*any"]:
        """Return counts in all parts that count, given counts by part."""
        return (counts if self._all_count else counts * self.counted).sum(dim=-1)

    def within(self, above: Above) -> Above:
        """Return those voxels of units' masks that count."""
        if self._all_count:
            return above
        kept = self.counted[self.parts[above.voxels].long()]
        return Above(above.units[kept], above.voxels[kept])


Ratios = Float[Tensor, "U K"]
"""One number for each unit and concept, float64."""


@dataclass(frozen=True, eq=False)
class OverlapTally:
    """Voxels counted over any number of cases.

    Args:
        both: voxels in a unit's mask and a concept.
        units: voxels of each unit's mask.
        concepts: voxels of each concept.
        num_voxels: number of voxels of all cases.
    """

    both: Int[Tensor, "U K"]
    units: Int[Tensor, " U"]
    concepts: Int[Tensor, " K"]
    num_voxels: int

    def __add__(self, other: OverlapTally) -> OverlapTally:
        return OverlapTally(
            self.both + other.both,
            self.units + other.units,
            self.concepts + other.concepts,
            self.num_voxels + other.num_voxels,
        )

    @property
    def union(self) -> Int[Tensor, "U K"]:
        """Voxels of either."""
        return self.units[:, None] + self.concepts[None] - self.both

    @property
    def most(self) -> OverlapTally:
        """The same sizes, with as many voxels in both as there can be."""
        both = torch.minimum(self.units[:, None], self.concepts[None])
        return replace(self, both=both)

    def iou(self) -> Ratios:
        """Return |M and C| / |M or C|; NaN where both are empty."""
        return self.both.double() / self.union.double()

    def dice(self) -> Ratios:
        """Return 2 |M and C| / (|M| + |C|); NaN where both are empty."""
        return 2.0 * self.both.double() / (self.units[:, None] + self.concepts[None]).double()

    def ceiling(self) -> Ratios:
        """Return min(p, q) / max(p, q): the largest IoU that masks of these sizes can have.

        p is the share of voxels in the unit's mask, q that in the concept. NaN where both are
        empty.
        """
        units, concepts = self.units[:, None].double(), self.concepts[None].double()
        return torch.minimum(units, concepts) / torch.maximum(units, concepts)

    def information_quality(self) -> Ratios:
        """Return I(M; C) / H(M, C) of the two masks as random bits, in 0..1.

        0: they tell nothing about each other. 1: each tells the other. NaN where both are constant.

        Source: Bau et al., GAN Dissection (ICLR 2019), equation 3.
        """
        total = self.num_voxels
        only_unit = self.units[:, None] - self.both
        only_concept = self.concepts[None] - self.both
        neither = total - self.both - only_unit - only_concept
        joint = _entropy(torch.stack([self.both, only_unit, only_concept, neither]), total)
        unit = _entropy(torch.stack([self.units, total - self.units]), total)
        concept = _entropy(torch.stack([self.concepts, total - self.concepts]), total)
        # Rounding may leave a hair below zero where the two are independent.
        return (unit[:, None] + concept[None] - joint).clamp(min=0) / joint


def tally(above: Above, partition: ConceptParts, num_units: int) -> OverlapTally:
    """Count the voxels of some units' masks by concept.

    Args:
        above: voxels of the units' masks; those that do not count are left out.
        partition: the partition of the same volume by concepts.
        num_units: U.
    """
    above = partition.within(above)
    places = above.units * partition.num_parts + partition.parts[above.voxels]
    counts = torch.bincount(places, minlength=num_units * partition.num_parts)
    both = partition.of_concepts(counts.reshape(num_units, partition.num_parts))
    return OverlapTally(both, above.counts(num_units), partition.sizes, partition.num_voxels)


def _entropy(counts: Tensor, total: int) -> Tensor:
    """Return -sum p ln p over the first axis of counts."""
    return entropy(counts.double() / total, axis=0)
