"""A unit at all thresholds: how well its activation ranks a concept, and where to cut it.

Activations are counted at a layer's own positions, each with the concepts of the voxel at its
centre, in the bins between its edges. That is enough to choose a threshold and to rank; the IoU at
a chosen threshold is counted over voxels like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from esegeta.dissection.tally import ConceptParts
from esegeta.predict import LayerGrid, VoxelBox

Histograms = Int[Tensor, "U E M"]
"""Positions of each unit by bin and by something else: part or concept."""


def histograms(
    bins: Integer[Tensor, "U N"],
    num_bins: int,
    parts: Int[Tensor, " N"],
    num_parts: int,
) -> Int[Tensor, "U B M"]:
    """Count activations by bin and part.

    Bin b holds what exceeds exactly b of the edges, so that the bins from b + 1 on are all that
    is above cut b.

    Args:
        bins: bin of each unit at each position.
        num_bins: B, one more than there are edges.
        parts: part of each position.
        num_parts: M.
    """
    size = num_bins * num_parts
    # Counting takes as long as what it reads: 32 bits, as long as they can number all counts.
    kind = torch.int32 if len(bins) * size < 2**31 else torch.int64
    first = torch.arange(len(bins), dtype=kind, device=bins.device)[:, None] * size
    places = bins.to(kind).mul_(num_parts).add_(parts).add_(first).flatten()
    counts = torch.bincount(places, minlength=len(bins) * size)
    return counts.reshape(len(bins), num_bins, num_parts)


def auroc(inside: Int[Tensor, "U B K"], everything: Int[Tensor, "U B"]) -> Float[Tensor, "U K"]:
    """Return the probability that a position in a concept has a larger activation than one outside.

    Two in one bin count half. 0.5: the unit does not rank the concept; NaN where the concept is
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
    inside: Int[Tensor, "U B K"], everything: Int[Tensor, "U B K"], bin_edges: Float[Tensor, "U E"]
) -> Float[Tensor, "U K"]:
    """Return the cut at which the IoU over positions is largest, for each unit and concept.

    Of several equally good cuts it is the middle one. NaN where the concept has no position,
    since there is nothing to choose by.

    Args:
        inside: positions of each concept by bin, in the cases to choose by.
        everything: all positions by bin, in the cases that each concept is judged by.
        bin_edges: edges between the bins.
    """
    both = _above_edges(inside)
    size = inside.sum(dim=1)
    union = _above_edges(everything) + size[:, None] - both
    iou = both.double() / union.double().clamp(min=1)
    is_best = iou == iou.amax(dim=1, keepdim=True)
    rank = is_best.cumsum(dim=1)
    middle = (rank == (rank[:, -1:] + 1) // 2).int().argmax(dim=1)
    chosen = bin_edges.gather(1, middle)
    return torch.where(size > 0, chosen, torch.full_like(chosen, torch.nan))


def count_at(
    values: Float[Tensor, "U N"], thresholds: Float[Tensor, "U K"], partition: ConceptParts
) -> tuple[Int[Tensor, "U K"], Int[Tensor, "U K"]]:
    """Count voxels above a threshold of each unit and concept.

    Args:
        values: value of each unit at each voxel of the partition's volume.
        thresholds: one for each unit and concept.
        partition: the partition of the volume by concepts.

    Returns:
        Voxels of mask and concept, and of mask or concept.
    """
    bin_edges, order = thresholds.sort(dim=1)
    bins = torch.searchsorted(bin_edges.contiguous(), values.contiguous())
    num_bins = bin_edges.shape[1] + 1
    counts = histograms(bins, num_bins, partition.parts, partition.num_parts)
    above = _above_edges(counts)
    place = order.argsort(dim=1)[:, :, None].expand(-1, -1, partition.num_parts)
    above = above.gather(1, place)
    both = (above * partition.members.T[None]).sum(dim=2)
    return both, partition.of_any(above) + partition.sizes[None] - both


@lru_cache(maxsize=16)
def centre_voxels(
    grid: LayerGrid, device: torch.device, image: VoxelBox | None = None
) -> tuple[tuple[slice, ...], Int[Tensor, " P"]]:
    """Return which positions of a layer lie in the image, and the voxel at the centre of each.

    Args:
        grid: the layer's grid over a volume.
        device: device of the result.
        image: first voxel and end of the image along each axis; None for the whole volume, where
            preprocessing has padded nothing.

    Returns:
        A box of positions: those with their centre in the image rather than in any padding, and
        at least one. Then an index into the flattened volume for each of them; a centre between
        two voxels goes to the latter.
    """
    box: list[slice] = []
    voxels = torch.zeros((), dtype=torch.int64)
    ends = image or tuple((0, length) for length in grid.windows.shape)
    for axis, (length, (start, stop)) in enumerate(zip(grid.windows.shape, ends, strict=True)):
        centres = grid.centres(axis)
        inside = ((centres >= start - 0.5) & (centres < stop - 0.5)).nonzero()[:, 0]
        if not len(inside):
            inside = (centres - (start + stop - 1) / 2).abs().argmin()[None]
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
        nearest = (centres[inside] + 0.5).floor().long().clamp(start, stop - 1)
        voxels = voxels[..., None] * length + nearest
    return tuple(box), voxels.flatten().to(device)


def positions_within(maps: Tensor, box: Sequence[slice]) -> Float[Tensor, "U P"]:
    """Return the activations of each unit at the positions of a box."""
    return maps[(slice(None), *box)].flatten(1)


def _above_edges(counts: Tensor) -> Tensor:
    """Return the sums over the bins above each cut."""
    return counts.flip(1).cumsum(1).flip(1)[:, 1:]
