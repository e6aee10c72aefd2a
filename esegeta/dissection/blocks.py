"""A body in blocks of voxels: within one a wide field varies so little that it ranks as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
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
    index = body.nonzero()
    ends = zip(index.amin(dim=0).tolist(), index.amax(dim=0).tolist(), strict=True)
    return tuple(slice(first, last + 1) for first, last in ends)


def block_sides(widths_vox: tuple[float, ...], body: Mask) -> Shape:
    """Return the sides of blocks in voxels, for fields of these widths; 1 in small volumes."""
    if body[box_of(body)].numel() < SMALL_VOXELS:
        return (1,) * body.ndim
    return tuple(min(max(int(width / BLOCKS_PER_WIDTH), 1), LARGEST_SIDE) for width in widths_vox)


@dataclass(frozen=True, eq=False)
class Blocks:
    """Blocks of the voxels of a body.

    Args:
        sides: side lengths of a block, in voxels.
        grid: mask of the blocks in the box around the body that hold any of it.
        weights: voxels of the body in each of these.
        concepts: voxels of each concept and the body in each of these.
    """

    sides: Shape
    grid: Bool[Tensor, "*B"]
    weights: Float[Tensor, " M"]
    concepts: Float[Tensor, "M K"]

    @classmethod
    def of(cls, partition: ConceptParts, body: Mask, sides: Shape) -> Blocks:
        """Count the voxels of a body by block."""
        voxels = body.nonzero()
        voxels = voxels - voxels.amin(dim=0)
        side = torch.tensor(sides, device=body.device)
        places = voxels // side
        shape = tuple((places.amax(dim=0) + 1).tolist())
        flat = torch.zeros_like(places[:, 0])
        for axis, length in enumerate(shape):
            flat = flat * length + places[:, axis]
        total = int(torch.tensor(shape).prod())
        weights = torch.bincount(flat, minlength=total)
        held = weights > 0
        parts = partition.parts[body.flatten()].long()
        columns = [
            torch.bincount(flat[member[parts]], minlength=total)[held]
            for member in partition.members.T
        ]
        return cls(
            sides, held.reshape(shape), weights[held].double(), torch.stack(columns, dim=1).double()
        )

    def fields(self, widths_vox: tuple[float, ...], *, seed: int) -> Fields:
        """Return fields at the blocks."""
        axes = zip(widths_vox, self.sides, strict=True)
        widths = tuple(width / side for width, side in axes)
        places = torch.arange(len(self.weights), device=self.grid.device)
        return Fields(widths, self.grid, places, seed)

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
