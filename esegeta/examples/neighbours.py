"""Which items lie nearest to an item in the embedding, and which farthest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Neighbour:
    """One neighbour of an item.

    Args:
        item: place of the item.
        rank: 1 for the nearest or the farthest.
        is_near: whether it is one of the nearest.
        neighbour: place of the neighbour.
        distance: between their embeddings.
    """

    item: int
    rank: int
    is_near: bool
    neighbour: int
    distance: float


def find_neighbours(between: Float[Tensor, "N N"], count: int) -> list[Neighbour]:
    """Return the nearest and the farthest neighbours of each item, itself left out.

    Args:
        between: distances.
        count: of each; all others where there are fewer.
    """
    count = min(count, len(between) - 1)
    itself = torch.eye(len(between), dtype=torch.bool, device=between.device)
    found = []
    for is_near in (True, False):
        barred = torch.inf if is_near else -torch.inf
        values, places = between.masked_fill(itself, barred).topk(count, largest=not is_near)
        rows = zip(values.tolist(), places.tolist(), strict=True)
        found += [
            Neighbour(item, rank, is_near, other, value)
            for item, (some, others) in enumerate(rows)
            for rank, (value, other) in enumerate(zip(some, others, strict=True), start=1)
        ]
    return sorted(found, key=lambda one: (one.item, not one.is_near, one.rank))
