"""A unit at all thresholds: how well its activation ranks a concept, and where to cut it.

Activations are counted at a layer's own positions, each with the concepts of the voxel at its
centre, in bins between quantiles of the unit's activations. That is enough to choose a threshold
and to rank; the IoU at a chosen threshold is counted over voxels like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int, Integer, UInt8
from torch import Tensor

from esegeta.dissect.partition import Partition
from esegeta.dissect.quantile import BINS, HALF_BITS, ordered_bits, values_of_bits
from esegeta.predict import LayerGrid

NUM_EDGES = 255
SAMPLE = 1 << 13
"""Activations of each unit that the bins are laid out by, over all cases."""

Histograms = Int[Tensor, "U E M"]
"""Positions of each unit by bin and by something else: part or concept."""


class Sketch:
    """Evenly spaced activations of each unit, from which the edges of bins are taken.

    Args:
        num_cases: that will be added; each gives as many.
    """

    def __init__(self, num_cases: int) -> None:
        self._share = max(SAMPLE // num_cases, 1)
        self._taken: list[Tensor] = []

    def add(self, values: Float[Tensor, "U N"]) -> None:
        """Take some activations of a case."""
        step = max(values.shape[1] // self._share, 1)
        self._taken.append(values[:, ::step][:, : self._share].clone())

    def edges(self) -> Float[Tensor, "U E"]:
        """Return the edges, ascending: quantiles of what was taken, in their upper 16 bits.

        Each is the largest number with these bits, so that a value is above it exactly if its own
        upper bits are.
        """
        taken = torch.cat(self._taken, dim=1)
        levels = torch.linspace(0, 1, NUM_EDGES + 2, device=taken.device)[1:-1]
        places = (levels * (taken.shape[1] - 1)).round().long()
        chosen = taken.sort(dim=1).values[:, places]
        return values_of_bits(ordered_bits(chosen) | (BINS - 1))


def bin_table(edges: Float[Tensor, "U E"]) -> UInt8[Tensor, "U V"]:
    """Return the bin of each unit by the upper 16 bits of a value, for edges of a `Sketch`."""
    upper = (ordered_bits(edges) >> HALF_BITS) + BINS // 2
    every = torch.arange(BINS, device=edges.device).expand(len(edges), BINS).contiguous()
    return torch.searchsorted(upper.contiguous(), every).to(torch.uint8)


def bins_by_table(
    values: Float[Tensor, "U N"], table: UInt8[Tensor, "U V"]
) -> UInt8[Tensor, "U N"]:
    """Return how many edges each value exceeds; a look-up is several times as fast as a search."""
    upper = (ordered_bits(values) >> HALF_BITS) + BINS // 2
    first = torch.arange(len(values), device=values.device)[:, None] * BINS
    return table.reshape(-1)[upper.add_(first)]


def histograms(
    bins: Integer[Tensor, "U N"],
    num_bins: int,
    parts: Int[Tensor, " N"],
    num_parts: int,
) -> Int[Tensor, "U B M"]:
    """Count activations by bin and part.

    Bin b holds what exceeds exactly b of the edges, so that the bins from b + 1 on are all that
    is above edge b.

    Args:
        bins: of each unit at each position.
        num_bins: B, one more than edges.
        parts: of each position.
        num_parts: M.
    """
    first = torch.arange(len(bins), device=bins.device)[:, None] * num_bins
    places = (bins + first).mul_(num_parts).add_(parts).flatten()
    counts = torch.bincount(places, minlength=len(bins) * num_bins * num_parts)
    return counts.reshape(len(bins), num_bins, num_parts)


def auroc(inside: Int[Tensor, "U B K"], everything: Int[Tensor, "U B"]) -> Float[Tensor, "U K"]:
    """Return the chance that a position of a concept has a larger activation than one beside it.

    Two of one bin count half. 0.5: the unit does not rank the concept; NaN where the concept is
    nowhere or everywhere.

    Args:
        inside: positions of each concept by bin.
        everything: all positions by bin.
    """
    positive = inside.double()
    negative = everything[:, :, None].double() - positive
    below = negative.cumsum(dim=1) - negative
    wins = (positive * (below + negative / 2)).sum(dim=1)
    return wins / (positive.sum(dim=1) * negative.sum(dim=1))


def best_thresholds(
    inside: Int[Tensor, "U B K"], everything: Int[Tensor, "U B"], edges: Float[Tensor, "U E"]
) -> Float[Tensor, "U K"]:
    """Return the edge at which the IoU over positions is largest, for each unit and concept.

    Args:
        inside: positions of each concept by bin, in the cases to choose by.
        everything: all positions by bin.
        edges: of the bins.
    """
    both = _above_edges(inside)
    union = _above_edges(everything)[:, :, None] + inside.sum(dim=1, keepdim=True) - both
    best = (both.double() / union.double().clamp(min=1)).argmax(dim=1)
    return edges.gather(1, best)


def count_at(
    values: Float[Tensor, "U N"], thresholds: Float[Tensor, "U K"], partition: Partition
) -> tuple[Int[Tensor, "U K"], Int[Tensor, "U K"]]:
    """Count voxels above a threshold of each unit and concept.

    Args:
        values: of each unit at each voxel of the partition's volume.
        thresholds: one for each unit and concept.
        partition: of the volume, by concepts.

    Returns:
        Voxels of mask and concept, and of mask or concept.
    """
    edges, order = thresholds.sort(dim=1)
    bins = torch.searchsorted(edges.contiguous(), values.contiguous())
    num_bins = edges.shape[1] + 1
    counts = histograms(bins, num_bins, partition.parts, partition.num_parts)
    above = _above_edges(counts)
    place = order.argsort(dim=1)[:, :, None].expand(-1, -1, partition.num_parts)
    above = above.gather(1, place)
    both = (above * partition.members.T[None]).sum(dim=2)
    return both, above.sum(dim=2) + partition.sizes[None] - both


@lru_cache(maxsize=16)
def centre_voxels(
    grid: LayerGrid, device: torch.device
) -> tuple[tuple[slice, ...], Int[Tensor, " P"]]:
    """Return which positions of a layer lie in the volume, and the voxel at the centre of each.

    Args:
        grid: of the layer over a volume.
        device: of the result.

    Returns:
        A box of positions: those with their centre in the volume rather than in its padding, and
        at least one. Then an index into the flattened volume for each of them; a centre between
        two voxels goes to the latter.
    """
    box: list[slice] = []
    voxels = torch.zeros((), dtype=torch.int64)
    for axis, length in enumerate(grid.windows.shape):
        padding, stride = grid.windows.padding[axis][0], grid.stride[axis]
        places = torch.arange(grid.shape[axis], dtype=torch.float64)
        centres = stride * (places + 0.5) - 0.5 - padding
        inside = ((centres >= -0.5) & (centres < length - 0.5)).nonzero()[:, 0]
        if not len(inside):
            inside = (centres - (length - 1) / 2).abs().argmin()[None]
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
        nearest = (centres[inside] + 0.5).floor().long().clamp(0, length - 1)
        voxels = voxels[..., None] * length + nearest
    return tuple(box), voxels.flatten().to(device)


def positions_within(maps: Tensor, box: Sequence[slice]) -> Float[Tensor, "U P"]:
    """Return the activations of each unit at the positions of a box."""
    return maps[(slice(None), *box)].flatten(1)


def _above_edges(counts: Tensor) -> Tensor:
    """Return the sums over the bins above each edge."""
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]
