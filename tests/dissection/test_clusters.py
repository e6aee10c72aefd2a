"""Groups of units: those that were planted, and those of scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import AgglomerativeClustering

from esegeta.dissection.trails import cluster_units

SIGNS = torch.tensor([1, 1, -1, 1, 1, 1, 1, 1, 1])
OF = [0, 1, 0, 2, 1, 0, 2, 1, 0]


def planted() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sources = torch.randn(3, 500, generator=generator)
    noise = 0.2 * torch.randn(9, 500, generator=generator)
    return SIGNS[:, None] * sources[OF] * torch.arange(1, 10)[:, None] + noise + 3


def test_correlated_units_are_one_cluster() -> None:
    """At any scale; unit 2 is anticorrelated with units 0, 5 and 8, and stands alone."""
    assert cluster_units(planted(), 4) == [(0, 5, 8), (1, 4, 7), (2,), (3, 6)]


def test_groups_are_those_of_scikit_learn() -> None:
    values = torch.randn(12, 60, generator=torch.Generator().manual_seed(1))
    distances = 1 - np.corrcoef(values.numpy())
    found = AgglomerativeClustering(5, metric="precomputed", linkage="average").fit(distances)
    expected = sorted(tuple(np.flatnonzero(found.labels_ == group).tolist()) for group in range(5))
    assert cluster_units(values, 5) == expected


def test_few_units_are_clusters_of_their_own() -> None:
    assert cluster_units(planted()[:3], 4) == [(0,), (1,), (2,)]


def test_a_constant_unit_is_its_own_cluster() -> None:
    values = planted()[[0, 5, 8, 1]]
    values[3] = 7.0
    assert cluster_units(values, 2) == [(0, 1, 2), (3,)]
