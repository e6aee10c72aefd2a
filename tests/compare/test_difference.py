"""Friedman against scipy, Demsar's own example, and the tables of his critical values."""

import math

import numpy as np
import pytest
from scipy import stats

from esegeta.compare.score_table import rank_competitors
from esegeta.compare.significance import (
    Difference,
    critical_difference,
    find_difference,
    friedman,
    longest_cliques,
)
from tests.compare.tables import table_of

DEMSAR = np.array(
    [
        [4, 3, 2, 1],
        [1, 2, 3, 4],
        [4, 1, 2, 3],
        [4, 1, 3, 2],
        [4, 2, 3, 1],
        [1, 2.5, 4, 2.5],
        [3, 2, 4, 1],
        [2.5, 2.5, 4, 1],
        [4, 3, 2, 1],
        [2.5, 2.5, 2.5, 2.5],
        [4, 2.5, 1, 2.5],
        [3, 2, 4, 1],
        [4, 1, 2, 3],
        [3, 1, 4, 2],
    ]
)
"""Ranks of C4.5, +m, +cf and +m+cf on 14 data sets: Demsar 2006, table 6."""


def test_the_mean_ranks_of_demsar() -> None:
    assert DEMSAR.mean(axis=0) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)


def test_friedman_on_demsars_example() -> None:
    """He finds 9.28 without a correction for ties; F of that is 3.69 and significant."""
    n, k = DEMSAR.shape
    means = DEMSAR.mean(axis=0)
    plain = 12 * n / (k * (k + 1)) * (np.square(means).sum() - k * (k + 1) ** 2 / 4)
    assert plain == pytest.approx(9.28, abs=5e-3)
    statistic, p = friedman(DEMSAR)
    ties = 1 - (3 * (2**3 - 2) + (4**3 - 4)) / (n * k * (k**2 - 1))
    assert statistic == pytest.approx(plain / ties)
    ratio = (n - 1) * statistic / (n * (k - 1) - statistic)
    assert p == pytest.approx(stats.f.sf(ratio, 3, 39))
    assert p < 0.05


def test_the_critical_difference_of_demsars_example() -> None:
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)
    found = find_difference(rank_competitors(table_of(DEMSAR)))
    assert isinstance(found, Difference)
    assert found.order == (3, 1, 2, 0)
    assert found.mean_ranks == pytest.approx((1.964, 2.0, 2.893, 3.143), abs=5e-4)
    assert found.cliques == ((0, 3),)  # "not powerful enough", section 3.2.2


@pytest.mark.parametrize(
    ("k", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (8, 3.031), (10, 3.164)]
)
def test_critical_values_are_those_of_table_5(k: int, q: float) -> None:
    n = 9
    assert critical_difference(k, n) == pytest.approx(
        q * math.sqrt(k * (k + 1) / (6 * n)), rel=5e-4
    )


@pytest.mark.parametrize("tied", [False, True])
def test_friedman_is_scipys(tied: bool) -> None:
    values = np.random.default_rng(5).normal(size=(9, 4)) + np.arange(4) * 0.3
    values = np.round(values) if tied else values
    statistic, _ = friedman(np.apply_along_axis(stats.rankdata, 1, values))
    assert statistic == pytest.approx(stats.friedmanchisquare(*values.T).statistic)


def test_unanimous_cases_have_the_p_of_chi2() -> None:
    statistic, p = friedman(np.tile([1.0, 2.0, 3.0], (6, 1)))
    assert statistic == pytest.approx(12)
    assert p == pytest.approx(stats.chi2.sf(12, 2))


def test_ties_alone_show_no_difference() -> None:
    statistic, p = friedman(np.full((6, 3), 2.0))
    assert math.isnan(statistic)
    assert p == 1.0


def test_without_a_difference_one_clique_holds_all() -> None:
    values = np.array([np.roll([0.0, 1.0, 2.0], place) for place in range(6)])
    found = find_difference(rank_competitors(table_of(values)))
    assert isinstance(found, Difference)
    assert found.p > 0.9
    assert found.cliques == ((0, 2),)


def test_clear_differences_leave_only_cliques_of_neighbours() -> None:
    rng = np.random.default_rng(2)
    values = np.repeat(np.arange(6.0)[None], 30, axis=0) + rng.normal(0, 0.1, (30, 6))
    found = find_difference(rank_competitors(table_of(values)))
    assert isinstance(found, Difference)
    assert found.critical == pytest.approx(critical_difference(6, 30))
    assert found.mean_ranks == (1, 2, 3, 4, 5, 6)
    assert found.cliques == ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5))


def slow_cliques(ranks: list[float], difference: float) -> set[tuple[int, int]]:
    runs = {
        (first, last)
        for first in range(len(ranks))
        for last in range(first + 1, len(ranks))
        if ranks[last] - ranks[first] < difference
    }
    return {
        run for run in runs if not any(o != run and o[0] <= run[0] and run[1] <= o[1] for o in runs)
    }


@pytest.mark.parametrize("seed", range(5))
def test_cliques_are_maximal(seed: int) -> None:
    ranks = sorted(np.random.default_rng(seed).uniform(1, 12, 12).tolist())
    assert set(longest_cliques(ranks, 2.5)) == slow_cliques(ranks, 2.5)


def test_ranks_exactly_a_critical_difference_apart_share_no_clique() -> None:
    assert longest_cliques([1.0, 2.0, 3.0], 2.0) == ((0, 1), (1, 2))
    assert longest_cliques([1.0, 3.0], 2.0) == ()


@pytest.mark.parametrize(
    ("shape", "why"), [((6, 2), "2 ranked competitors"), ((5, 3), "5 cases"), ((6, 1), "one comp")]
)
def test_too_few_cases_or_methods_are_refused_with_a_reason(
    shape: tuple[int, int], why: str
) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    found = find_difference(rank_competitors(table_of(values)))
    assert isinstance(found, str)
    assert why in found
