"""Chance that keeps what units and concepts owe to anatomy: cases swap their label maps.

A unit that knows where in the body it is, and no more, meets the concepts of another patient as
often as those of its own. So each case's units are held against the label maps of all cases,
brought onto its grid, and a draw hands every case the label map of another one.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from esegeta.axes import Shape
from esegeta.dissection.above import Above
from esegeta.dissection.body import CaseSpace
from esegeta.dissection.chance import MovedConcepts, Overlaps
from esegeta.dissection.tally import ConceptParts, tally

FEWEST_CASES = 5
"""Four cases have 23 other orders: p is at least 1 / 24, too large for any q to name a unit."""


@dataclass(frozen=True)
class Exchange(MovedConcepts):
    """Label maps handed around between the cases, in all orders, or in `samples` drawn ones.

    What a unit and a concept both owe to anatomy stays: where organs lie, how large they are, how
    smooth the unit is. What goes is that the unit knows this patient's own. p is exact where cases
    are exchangeable: of one population, in one field of view.

    Source: exchangeability under the null hypothesis, Winkler et al., NeuroImage 92 (2014).
    """

    name: ClassVar[str] = "exchange"

    def num_draws(self, num_cases: int) -> int:
        """Return the number of orders that are looked at besides the actual one."""
        return min(self.samples, math.factorial(num_cases) - 1)

    def draw(
        self, above: Above, num_units: int, partition: ConceptParts, space: CaseSpace
    ) -> Overlaps:
        """Look the case's part of each order up in its overlaps with the concepts of all cases."""
        found = [tally(above, read(), num_units).both.cpu() for read in space.concepts_of]
        return torch.stack(found)[self.orders(len(found))[:, space.number]]

    def orders(self, num_cases: int) -> Int[Tensor, "D N"]:
        """Return which case's label map each case is handed, for each draw."""
        if self.num_draws(num_cases) < self.samples:
            rest = itertools.islice(itertools.permutations(range(num_cases)), 1, None)
            return torch.tensor(list(rest))
        generator = torch.Generator().manual_seed(self.seed)
        drawn = torch.rand((self.samples, num_cases), generator=generator, dtype=torch.float64)
        return drawn.argsort(dim=1)


@dataclass(frozen=True)
class Frame:
    """What is laid over what, when the label map of one case is brought onto another.

    Args:
        shape: shape of the volume.
        box: first voxel and length along each axis: of the body, or of all of a common grid.
    """

    shape: Shape
    box: tuple[tuple[int, int], ...]

    @classmethod
    def of_body(cls, body: Bool[Tensor, " N"], shape: Shape) -> Frame:
        """Return the box around a body."""
        index = body.reshape(shape).nonzero()
        ends = zip(index.amin(dim=0).tolist(), index.amax(dim=0).tolist(), strict=True)
        return cls(shape, tuple((first, last + 1 - first) for first, last in ends))

    @classmethod
    def of_grid(cls, shape: Shape) -> Frame:
        """Return all of a grid that cases share."""
        return cls(shape, tuple((0, side) for side in shape))

    def voxels_of(self, source: Frame) -> tuple[Tensor, ...]:
        """Return the nearest voxels of another frame along each axis; -1 beyond its volume."""
        found = []
        axes = zip(self.shape, self.box, source.shape, source.box, strict=True)
        for side, (first, length), other_side, (other_first, other_length) in axes:
            middles = torch.arange(side, dtype=torch.float64) + 0.5 - first
            place = (middles * (other_length / length) + other_first).floor().long()
            beyond = (place < 0) | (place >= other_side)
            found.append(place.masked_fill(beyond, -1))
        return tuple(found)


def brought(partition: ConceptParts, source: Frame, target: Frame) -> ConceptParts:
    """Return the concepts of one case on the grid of another; none beyond their volume.

    Args:
        partition: the partition of the source's volume.
        source: frame of the source.
        target: the frame onto which it is laid.
    """
    device = partition.parts.device
    places = [place.to(device) for place in target.voxels_of(source)]
    nothing = partition.num_parts
    parts = partition.parts.reshape(source.shape)
    for axis, place in enumerate(places):
        parts = parts.index_select(axis, place.clamp(min=0))
        line = [1] * len(places)
        line[axis] = -1
        parts = parts.masked_fill((place < 0).reshape(line), nothing)
    none = torch.zeros_like(partition.members[:1])
    members, counted = torch.cat([partition.members, none]), partition.counted
    # Whether a voxel counts is for the case to say that is looked at, not for the one that lends.
    return ConceptParts(parts.flatten(), members, torch.ones_like(counted[:1]).expand(nothing + 1))
