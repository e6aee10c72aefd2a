"""False components against true ones: the difference, and every permutation of it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from esegeta.concepts import contrast


def test_p_approximates_that_of_all_permutations() -> None:
    values = np.array([3.0, 2.5, 0.1, -0.2, 0.4, 0.0])
    is_false = np.array([True, True, False, False, False, False])
    randoms = np.random.default_rng(0).normal(size=(7, 6))
    found = contrast(values, is_false, randoms, permutations=4000, seed=0)
    assert found.difference == pytest.approx(2.75 - 0.075)
    assert (found.false_mean, found.true_mean) == pytest.approx((2.75, 0.075))
    every = []
    for chosen in itertools.combinations(range(6), 2):
        mask = np.isin(np.arange(6), chosen)
        every.append(abs(values[mask].mean() - values[~mask].mean()))
    share = np.mean(np.array(every) >= found.difference - 1e-12)
    assert found.p == pytest.approx(share, abs=0.02)
    null = randoms[:, :2].mean(axis=1) - randoms[:, 2:].mean(axis=1)
    t = (found.difference - null.mean()) / (null.std(ddof=1) * np.sqrt(1 + 1 / 7))
    assert found.p_random == pytest.approx(2 * stats.t.sf(abs(t), 6))
    assert found.p_larger == max(found.p, found.p_random)


def test_equal_components_have_p_one() -> None:
    same = contrast(np.ones(8), np.arange(8) < 4, np.ones((3, 8)), permutations=99, seed=0)
    assert (same.difference, same.p, same.p_random) == (0.0, 1.0, 1.0)
