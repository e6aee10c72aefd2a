"""Canonical correlations: those of scipy and scikit-learn, and the weights of the paper."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from sklearn.cross_decomposition import CCA
from torch import Tensor

from esegeta.similarity import (
    Moments,
    UnitLayout,
    canonical_correlations,
    cca,
    num_directions,
    pwcca,
    svcca,
    whitening,
)
from tests.similarity.test_alignment import noise


def moments_of(*layers: Tensor) -> Moments:
    return Moments.of(torch.cat(layers, dim=1), UnitLayout.of(layers))


def related(rows: int = 200) -> tuple[Tensor, Tensor]:
    """Return two layers of 5 and 4 units that share two directions, one of them faint."""
    x, y = noise(rows, 5), noise(rows, 4, seed=1)
    x[:, 0] *= 10
    y[:, 0] += 3 * x[:, 1]
    y[:, 1] += 0.2 * x[:, 0]
    return x + 5, y @ noise(4, 4, seed=2) - 1


def variates(x: Tensor) -> NDArray[np.float64]:
    """Return an orthonormal basis of what a layer's units span over positions."""
    return np.linalg.qr((x - x.mean(dim=0)).numpy())[0]


def test_correlations_are_those_of_scipy() -> None:
    x, y = related()
    moments = moments_of(x, y)
    one, two = (moments.second[own, own] for own in moments.layout.columns)
    cross = moments.second[:5, 5:]
    found = canonical_correlations(cross, whitening(one), whitening(two)).numpy()
    expected = np.sort(np.cos(subspace_angles(variates(x), variates(y))))[::-1]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert cca(moments)[0, 1] == pytest.approx(expected.mean(), abs=1e-9)


def test_correlations_are_those_of_sklearn() -> None:
    x, y = related()
    with warnings.catch_warnings(action="ignore"):
        model = CCA(n_components=4, max_iter=5000, tol=1e-12)
        u, v = model.fit_transform(x.numpy(), y.numpy())
    expected = [np.corrcoef(u[:, k], v[:, k])[0, 1] for k in range(4)]
    assert float(cca(moments_of(x, y))[0, 1]) == pytest.approx(np.mean(expected), abs=1e-6)


def test_cca_is_invariant_to_invertible_linear_maps() -> None:
    x, y = related()
    mixed = x @ noise(5, 5, seed=4) * torch.tensor([1, 1e3, 1, 1, 1e-2]) + 7
    found = cca(moments_of(x, y, mixed))
    assert found[0, 2] == pytest.approx(1, abs=1e-9)
    assert found[1, 2] == pytest.approx(float(found[1, 0]), abs=1e-9)


def test_duplicate_units_add_no_direction() -> None:
    x, y = related()
    repeated = torch.cat([x, x[:, :2], 0 * x[:, :1]], dim=1)
    found = cca(moments_of(x, y, repeated))
    assert found[1, 2] == pytest.approx(float(found[0, 1]), abs=1e-9)


def test_svcca_is_cca_of_the_directions_with_most_variance() -> None:
    x, y = noise(300, 6), noise(300, 5, seed=1)
    y[:, :2] = x[:, :2]
    x[:, 2:], y[:, 2:] = 1e-3 * x[:, 2:], 1e-3 * y[:, 2:]
    moments = moments_of(x, y)
    assert num_directions(moments) == [2, 2]
    assert svcca(moments)[0, 1] == pytest.approx(1, abs=1e-4)
    assert cca(moments)[0, 1] < 0.6

    def truncated(layer: Tensor) -> NDArray[np.float64]:
        u, s, _ = np.linalg.svd((layer - layer.mean(dim=0)).numpy(), full_matrices=False)
        count = int(np.searchsorted(np.cumsum(s**2) / np.sum(s**2), 0.99)) + 1
        return u[:, :count]

    x, y = related()
    expected = np.cos(subspace_angles(truncated(x), truncated(y))).mean()
    assert svcca(moments_of(x, y))[0, 1] == pytest.approx(expected, abs=1e-9)


def inverse_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors / np.sqrt(values)) @ vectors.T


def weighted(x: Tensor, y: Tensor, *, whitened: bool) -> float:
    """Return PWCCA step by step over positions; without whitening as `svcca/pwcca.py` has it."""
    one, two = ((part - part.mean(dim=0)).numpy() for part in (x, y))
    first, second = inverse_root(one.T @ one), inverse_root(two.T @ two)
    u, rho, _ = np.linalg.svd(first @ one.T @ two @ second, full_matrices=False)
    directions = one @ (first @ u if whitened else u)
    directions = np.linalg.qr(directions)[0]
    alpha = np.abs(directions.T @ one).sum(axis=1)
    return float((alpha * rho).sum() / alpha.sum())


def test_pwcca_is_that_of_the_paper_and_not_of_its_published_code() -> None:
    x, y = related()
    found = pwcca(moments_of(x, y))
    assert found[0, 1] == pytest.approx(weighted(x, y, whitened=True), abs=1e-9)
    assert found[1, 0] == pytest.approx(weighted(y, x, whitened=True), abs=1e-9)
    assert abs(float(found[0, 1] - found[1, 0])) > 0.05, "the first layer gives the weights"
    assert abs(float(found[0, 1]) - weighted(x, y, whitened=False)) > 0.02


def test_cca_is_undefined_if_directions_span_all_positions() -> None:
    """Of 9 positions the 5 + 4 directions span everything, whatever they are."""
    x, y = noise(9, 5), noise(9, 4, seed=1)
    for measure in (cca, pwcca):
        found = measure(moments_of(x, y))
        assert found[0, 1].isnan() and found[0, 0].isnan()
    assert cca(moments_of(noise(12, 5), noise(12, 4, seed=1)))[0, 1] > 0.6, "far from zero"


def test_a_layer_that_never_changes_has_no_value() -> None:
    found = cca(moments_of(noise(30, 2), torch.ones((30, 2), dtype=torch.float64)))
    assert found[0, 0] == pytest.approx(1) and found[:, 1].isnan().all()
