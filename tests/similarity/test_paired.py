"""Layers against layers at paired positions, in the scale of these positions: numpy's own way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.similarity import (
    Moments,
    Paired,
    UnitLayout,
    cca,
    gram_cka,
    hollow,
    linear_cka,
    linear_grams,
    paired_gram_cka,
    pwcca,
    rbf_grams,
    svcca,
)
from tests.similarity.test_correlation import noise

LAYOUT = UnitLayout((5, 3))


def sides() -> tuple[torch.Tensor, torch.Tensor]:
    """Return positions and those paired with them, which vary three times as much."""
    left = noise(60, 8)
    right = 3 * noise(60, 8, seed=1) + 2
    right[:, 6] += 4 * left[:, 1]
    return left, right


def unbiased_hsic(k: np.ndarray, m: np.ndarray) -> float:
    n = len(k)
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    ends = k.sum() * m.sum() / ((n - 1) * (n - 2))
    return float(((k * m).sum() + ends - 2 / (n - 2) * (k @ m).sum()) / (n * (n - 3)))


def test_paired_cka_is_normalised_by_both_sides() -> None:
    left, right = sides()
    x, y = left[:, :5].numpy(), right[:, 5:].numpy()
    k, m = x @ x.T, y @ y.T
    expected = unbiased_hsic(k, m) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(m, m))
    assert Paired(left, right, LAYOUT).cka[0, 1] == pytest.approx(expected, abs=1e-10)


def test_canonical_correlations_are_those_between_the_sides() -> None:
    left, right = sides()
    first, second = (
        np.linalg.qr((part - part.mean(dim=0)).numpy())[0] for part in (left[:, :5], right[:, 5:])
    )
    expected = np.linalg.svd(first.T @ second, compute_uv=False).mean()
    assert Paired(left, right, LAYOUT).correlation("cca")[0, 1] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["cca", "svcca", "pwcca"])
def test_positions_paired_with_themselves_give_the_unpaired_value(name: str) -> None:
    left, right = sides()
    both = torch.cat([left, right])
    moments = Moments.of(both, LAYOUT)
    own = Paired(both, both, LAYOUT)
    measure = {"cca": cca, "svcca": svcca, "pwcca": pwcca}[name]
    torch.testing.assert_close(own.correlation(name), measure(moments))
    torch.testing.assert_close(own.cka, linear_cka(moments))


def test_measures_do_not_influence_each_other() -> None:
    """What `cca` and `pwcca` share is made once; `svcca` keeps fewer directions of its own."""
    left, right = sides()
    left[:, 2:5] *= 1e-3
    together = Paired(left, right, LAYOUT)
    found = {name: together.correlation(name) for name in ("cca", "svcca", "pwcca", "cca")}
    for name, value in found.items():
        torch.testing.assert_close(value, Paired(left, right, LAYOUT).correlation(name))
    assert not torch.allclose(found["cca"], found["svcca"])


def test_paired_kernel_cka_is_normalised_by_both_sides() -> None:
    left, right = sides()
    both, rows = torch.cat([left, right]), torch.arange(60)
    grams = hollow(linear_grams(both, LAYOUT))
    found = paired_gram_cka(grams, rows, rows + 60)
    torch.testing.assert_close(found, Paired(left, right, LAYOUT).cka)
    kernels = rbf_grams(both, LAYOUT)
    every = torch.arange(120)
    torch.testing.assert_close(paired_gram_cka(hollow(kernels), every, every), gram_cka(kernels))
