"""Ranks of many numbers, ties shared evenly; correlations of two maps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def average_ranks(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return ranks from 1, the smallest first, float64; equal values get the mean of theirs."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0).double()
    ranks: Tensor = last - (counts.double() - 1) / 2
    return ranks[places]


def spearman(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> float:
    """Return the rank correlation of two maps in -1..1; NaN where one is the same everywhere."""
    ranks = [average_ranks(map_.flatten()) for map_ in (one, other)]
    return cosine(*(rank - rank.mean() for rank in ranks))


def cosine(one: Float[Tensor, "..."], other: Float[Tensor, "..."]) -> float:
    """Return the cosine between two maps in -1..1; NaN where one is zero everywhere."""
    a, b = one.flatten().double(), other.flatten().double()
    lengths = float(a.norm()) * float(b.norm())
    return max(-1.0, min(1.0, float(a @ b) / lengths)) if lengths else math.nan
