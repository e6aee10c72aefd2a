"""A body in blocks of voxels: within one a wide field varies so little that it ranks as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Mask, Shape
from esegeta.dissection.fields import Fields
from esegeta.dissection.tally import ConceptParts

BLOCKS_PER_WIDTH = 2
"""Neighbouring blocks correlate with 0.94 or more: exp(-h^2 / 4 s^2) at h = s / 2."""

LARGEST_SIDE = 4
"""Voxels: small masks, too, must be made of more than one block."""

SMALL_VOXELS = 1 << 16
"""In a box of fewer voxels nothing is saved."""

VALUES_AT_A_TIME = 1 << 22


def box_of(body: Mask) -> tuple[slice, ...]:
    """Return the box around a body."""
    box: list[slice] = []
    for axis in range(body.ndim):
        lines = body.movedim(axis, 0).flatten(1).view(torch.uint8)
        held = lines.amax(dim=1).nonzero()  # of bytes: `any` of bits takes ten times as long
        box.append(slice(int(held[0]), int(held[-1]) + 1))
    return tuple(box)


def block_sides(widths_vox: tuple[float, ...], shape: Shape) -> Shape:
    """Return the sides of blocks in voxels, for fields of these widths; 1 in small volumes.

    Args:
        widths_vox: standard deviation of the fields' filter along each axis.
        shape: shape of the box around the body.
    """
    if math.prod(shape) < SMALL_VOXELS:
        return (1,) * len(shape)
    return tuple(min(max(int(width / BLOCKS_PER_WIDTH), 1), LARGEST_SIDE) for width in widths_vox)


def parts_in_box(partition: ConceptParts, body: Mask) -> Int[Tensor, "*B"]:
    """Return the part of each voxel of the box around a body; one more than all where it is not."""
    box = box_of(body)
    return torch.where(body[box], partition.parts.reshape(body.shape)[box], partition.num_parts)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of the voxels of a body.

    Args:
        sides: side lengths of a block, in voxels.
        numbers: number of each block in the box around the body, counted from 0; -1 where it
            holds nothing of the body.
        weights: voxels of the body in each of these.
        concepts: voxels of each concept and the body in each of these.
    """

    sides: Shape
    numbers: Int[Tensor, "*B"]
    weights: Float[Tensor, " M"]
    concepts: Float[Tensor, "M K"]

    @classmethod
    def of(cls, partition: ConceptParts, box: Int[Tensor, "*S"], sides: Shape) -> Blocks:
        """Count the voxels of a body by block.

        Args:
            partition: the partition of the volume by concepts.
            box: part of each voxel of the box around the body; one more than all parts where
                there is no body.
            sides: sides of a block, in voxels.
        """
        axes = zip(box.shape, sides, strict=True)
        shape = tuple(math.ceil(length / side) for length, side in axes)
        total, columns = math.prod(shape), partition.num_parts + 1
        # Counting takes as long as what it reads: 32 bits, as long as they can number all counts.
        kind = torch.int32 if total * columns < 2**31 else torch.int64
        places = _block_numbers(tuple(box.shape), sides, shape).to(box.device, kind) * columns + box
        counts = torch.bincount(places.flatten(), minlength=total * columns)
        counts = counts.reshape(total, columns)[:, :-1]
        weights = counts.sum(dim=1)
        held = weights > 0
        numbers = torch.where(held, held.cumsum(dim=0) - 1, -1).reshape(shape)
        concepts = partition.of_concepts(counts[held])
        return cls(sides, numbers, weights[held].double(), concepts.double())

    def fields(self, widths_vox: tuple[float, ...], *, seed: int) -> Fields:
        """Return fields at the blocks."""
        axes = zip(widths_vox, self.sides, strict=True)
        widths = tuple(width / side for width, side in axes)
        return Fields(widths, self.numbers, seed)

    def enough(self, voxels: int) -> int:
        """Return how many blocks hold that many voxels, whichever blocks they are."""
        total = self.weights.sort().values.cumsum(dim=0)
        return int(torch.searchsorted(total, float(voxels))) + 1

    def overlaps(
        self, ranked: Int[Tensor, "D H"], sizes: Int[Tensor, " U"]
    ) -> Int[Tensor, "D U K"]:
        """Return what the top voxels of each ranking share with concepts, as many as the unit has.

        The block that a unit's last voxel is in counts in proportion.

        Args:
            ranked: blocks, the largest first.
            sizes: voxels of each unit.
        """
        found = []
        step = max(VALUES_AT_A_TIME // (ranked.shape[1] * self.concepts.shape[1]), 1)
        for some in torch.split(ranked, step):
            voxels = self.weights[some].cumsum(dim=1)
            wanted = sizes.double().expand(len(some), -1).contiguous()
            last = torch.searchsorted(voxels, wanted)
            over = voxels.gather(1, last) - wanted
            share = over / self.weights[some].gather(1, last)
            row = torch.arange(len(some), device=some.device)[:, None]
            counts = self.concepts[some].cumsum(dim=1)[row, last]
            counts = counts - share[..., None] * self.concepts[some.gather(1, last)]
            found.append(counts.round().long())
        return torch.cat(found)


@lru_cache(maxsize=4)
def _block_numbers(voxels: Shape, sides: Shape, blocks: Shape) -> Int[Tensor, "*S"]:
    """Return the number of the block that each voxel of a box is in."""
    numbers = torch.zeros((1,) * len(voxels), dtype=torch.int64)
    for axis, (length, side) in enumerate(zip(voxels, sides, strict=True)):
        line = [1] * len(voxels)
        line[axis] = length
        places = torch.arange(length) // side * math.prod(blocks[axis + 1 :])
        numbers = numbers + places.reshape(line)
    return numbers
