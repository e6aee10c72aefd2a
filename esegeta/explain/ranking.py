"""Which voxels of a map come first: by what they are ranked, and in which order equals stand."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Image
from esegeta.explain.attribution import Attribution

RankBy = Literal["auto", "value", "magnitude"]


def relevance(attribution: Attribution, rank_by: RankBy) -> Image:
    """Return what voxels are ranked by, `C *S`: the map's shares, or their magnitude.

    `auto` takes what the map's meaning says: the magnitude of slopes, the value of other maps.
    """
    chosen = attribution.meaning.rank_by if rank_by == "auto" else rank_by
    density = attribution.density()
    return density.abs() if chosen == "magnitude" else density


def shuffled_order(heights: Float[Tensor, " N"], *, seed: int) -> Int[Tensor, " N"]:
    """Return indices from the highest to the lowest; equals stand in random order."""
    generator = torch.Generator(device=heights.device).manual_seed(seed)
    shuffle = torch.randperm(len(heights), generator=generator, device=heights.device)
    by_height = torch.argsort(heights[shuffle], descending=True, stable=True)
    return shuffle[by_height]
