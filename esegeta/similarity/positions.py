"""Where layers are compared: the same positions for all, shared out among the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from esegeta.predict import LayerGrid, PositionValues

OUTSIDE = -1
"""Stratum of what is not sampled."""


def quotas(sizes: Sequence[int], total: int) -> list[int]:
    """Return how many members each group gives: the same number, or all where it has fewer.

    Args:
        sizes: sizes of the groups.
        total: number wanted from all groups together.
    """
    given = [0] * len(sizes)
    left = min(total, sum(sizes))
    while left > 0:
        open_ = [place for place, size in enumerate(sizes) if given[place] < size]
        share = max(left // len(open_), 1)
        for place in open_:
            more = min(share, sizes[place] - given[place], left)
            given[place] += more
            left -= more
    return given


def draw_positions(
    strata: Int[Tensor, " N"], total: int, generator: torch.Generator
) -> Int[Tensor, " M"]:
    """Draw voxels without replacement, each stratum the same number as far as it goes.

    Args:
        strata: number of the label of each voxel; OUTSIDE where none may be drawn.
        total: number of voxels to draw.
        generator: generator of the draws.

    Returns:
        Indices of voxels, ascending.
    """
    present = [number for number in torch.unique(strata).tolist() if number != OUTSIDE]
    groups = [(strata == number).nonzero()[:, 0] for number in present]
    taken = quotas([len(group) for group in groups], total)
    drawn = [
        group[torch.randperm(len(group), generator=generator)[:count].to(group.device)]
        for group, count in zip(groups, taken, strict=True)
    ]
    return torch.cat([strata.new_zeros(0), *drawn]).sort().values


def thin_out(strata: Int[Tensor, " N"], total: int) -> Int[Tensor, " M"]:
    """Return positions evenly among those of each stratum, as `draw_positions` shares them out."""
    present = torch.unique(strata).tolist()
    groups = [(strata == number).nonzero()[:, 0] for number in present]
    taken = quotas([len(group) for group in groups], total)
    drawn = [group[evenly(len(group), count)] for group, count in zip(groups, taken, strict=True)]
    return torch.cat([strata.new_zeros(0), *drawn]).sort().values


def evenly(length: int, count: int) -> Int[Tensor, " K"]:
    """Return `count` different places of a list, evenly spaced."""
    return torch.arange(count) * length // max(count, 1)


def values_at(
    maps: PositionValues, grid: LayerGrid, voxels: Float[Tensor, "N A"]
) -> Float[Tensor, "N K"]:
    """Return the activations of units at points of the volume, interpolated linearly.

    Beyond the outermost positions of the layer their own values go on, as in `to_voxels`.

    Args:
        maps: maps of the units, `K *G`.
        grid: the layer's grid.
        voxels: the points, in voxels of the volume as the network sees it.
    """
    lower, weight = [], []
    for axis, (stride, length) in enumerate(zip(grid.stride, grid.shape, strict=True)):
        edge = grid.windows.padding[axis][0] - grid.first_edge[axis]
        place = ((voxels[:, axis] + edge + 0.5) / stride - 0.5).clamp(0, length - 1)
        below = place.floor().clamp(max=max(length - 2, 0))
        lower.append(below.long())
        weight.append(place - below)
    index, share = [], []
    for corner in product((0, 1), repeat=len(lower)):
        flat = torch.zeros_like(lower[0])
        part = torch.ones_like(weight[0])
        for axis, step in enumerate(corner):
            length = grid.shape[axis]
            flat = flat * length + (lower[axis] + step).clamp(max=length - 1)
            part = part * (weight[axis] if step else 1 - weight[axis])
        index.append(flat)
        share.append(part)
    rows = maps.reshape(len(maps), math.prod(grid.shape)).T.contiguous()
    device = maps.device
    found: Tensor = F.embedding_bag(
        torch.stack(index, dim=1).to(device),
        rows,
        mode="sum",
        per_sample_weights=torch.stack(share, dim=1).to(rows),
    )
    return found
