"""Which voxels of an image are taken out: the first or the last of a ranking."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Mask, Shape
from esegeta.explain import Attribution, relevance, shuffled_order

RemovalMode = Literal["roar", "kar"]
MapRank = Literal["magnitude", "value"]

Importance = Float[Tensor, "*S"]
"""How much each voxel matters to a method; only the order counts."""

Order = Int[Tensor, " V"]
"""All voxels of an image by their flat index, the most important first."""


def importance_of(attribution: Attribution, rank_by: MapRank) -> Importance:
    """Return what voxels are ranked by, channels summed.

    `magnitude`: how much information, whichever way it pulls; `value`: how much a voxel raises
    the target.
    """
    return relevance(attribution, rank_by).sum(dim=0)


def rank_voxels(importance: Importance, seed: int) -> Order:
    """Rank the voxels of an image, the most important first; a seed decides between equals.

    The order in memory plays no part: it would take a map's zeros out line by line.
    """
    return shuffled_order(importance.flatten(), seed=seed)


@dataclass(frozen=True)
class Removal:
    """Which part of a ranking is taken out of every image.

    Args:
        mode: `roar` removes the voxels of the highest rank, `kar` keeps them and removes the rest.
        method: id of the method that ranks.
        fraction: of the voxels of an image that are removed (`roar`) or kept (`kar`), 0 to 1.
    """

    mode: RemovalMode
    method: str
    fraction: float

    def mask(self, order: Order, shape: Shape) -> Mask:
        """Return where the voxels of an image are removed, `*S`.

        `floor(fraction * V + 1/2)` of V voxels are those of the highest rank.
        """
        num_top = math.floor(self.fraction * len(order) + 0.5)
        chosen = order[:num_top] if self.mode == "roar" else order[num_top:]
        mask = torch.zeros(len(order), dtype=torch.bool, device=order.device)
        mask[chosen] = True
        return mask.reshape(shape)


REFERENCE = "reference"
"""Stands for the method of images whose removal no ranking decides."""

UNTOUCHED = Removal("roar", REFERENCE, 0.0)
EMPTY = Removal("roar", REFERENCE, 1.0)
"""The ends of every curve: nothing is removed, and everything is."""
