"""Units of a layer that see the same: few groups instead of many units."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor


def cluster_units(values: Float[Tensor, "U N"], count: int) -> list[tuple[int, ...]]:
    """Return groups of units whose activations go together, by the first of their units.

    Agglomerative, with average linkage of the distance 1 - r; r is Pearson's correlation. Units
    that go against each other are as far apart as can be. A unit that does not change is
    correlated with none.

    Args:
        values: activations of each unit at the same positions.
        count: of groups; so few units or fewer are groups of one.

    Source: Kaufman and Rousseeuw, Finding Groups in Data (1990), chapter 5.
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(values) <= count:
        return [(unit,) for unit in range(len(values))]
    centred = values.double().cpu().numpy()
    centred = centred - centred.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    distances = np.clip(1 - directions @ directions.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = hierarchy.linkage(squareform(distances, checks=False), method="average")
    groups = hierarchy.cut_tree(tree, n_clusters=count)[:, 0]
    found = [tuple(int(unit) for unit in np.flatnonzero(groups == group)) for group in set(groups)]
    return sorted(found)
