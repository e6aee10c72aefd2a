"""How alike two items are: a radial kernel of their embeddings, of the median distance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.errors import DataError

Embedding = Float[Tensor, "N K"]
"""A row an item, such as the mean activation of each unit over it."""

Kernel = Float[Tensor, "N N"]
"""How alike each two items are, from 0 to 1, float64."""


def distances(embedding: Embedding) -> Float[Tensor, "N N"]:
    """Return the Euclidean distance between each two items, float64."""
    rows = embedding.double()
    # Not by products of rows: equal items must be at 0, and not at the rounding of large squares.
    return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")


def median_distance(between: Float[Tensor, "N N"]) -> float:
    """Return the median distance between two different items; of those that differ where it is 0.

    Raises:
        DataError: all items are the same.
    """
    rows, columns = torch.triu_indices(len(between), len(between), offset=1, device=between.device)
    pairs = between[rows, columns].sort().values
    if len(pairs) and _middle(pairs) > 0:
        return _middle(pairs)
    apart = pairs[pairs > 0]
    if not len(apart):
        raise DataError(
            f"all {len(between)} items have the same embedding, so none is more typical",
            hint="name another layer in `examples.layer`",
        )
    return _middle(apart)


def _middle(ordered: Float[Tensor, " P"]) -> float:
    """Return the median of sorted numbers."""
    count = len(ordered)
    return float(ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def radial_kernel(between: Float[Tensor, "N N"], width: float) -> Kernel:
    """Return `k(x, z) = exp(-|x - z|^2 / (2 width^2))` of distances between items."""
    return (-(between**2) / (2 * width**2)).exp()
