"""Which pairs are tested, over what, and in which direction."""

import math

import numpy as np
import pytest
from scipy import stats

from esegeta.compare.merge import Competitor
from esegeta.compare.significance import compare_pair, compare_pairs, competitor_pairs
from tests.compare.tables import competitors_of, table_of

A, B = competitors_of(2)


def test_pairs_share_a_model_or_a_method() -> None:
    x, y, z = (Competitor("one", name) for name in "xyz")
    u, v = Competitor("two", "x"), Competitor("two", "w")
    assert list(competitor_pairs([x, y, z, u, v])) == [(x, y), (x, z), (y, z), (u, v), (x, u)]


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_test_is_scipys_over_cases(better: str) -> None:
    values = np.random.default_rng(0).normal(size=(9, 2)) + np.array([0.0, 0.5])
    pair = compare_pair(table_of(values, better), A, B)
    assert pair.outcome is not None
    assert pair.outcome.p == pytest.approx(stats.wilcoxon(*values.T, method="exact").pvalue)
    assert pair.median_difference == pytest.approx(np.median(values[:, 0] - values[:, 1]))
    assert (pair.outcome.effect > 0) == (better == "lower")
    assert pair.median_gain == pytest.approx(
        -pair.median_difference if better == "lower" else pair.median_difference
    )


def test_swapping_a_pair_negates_the_effect_and_keeps_p() -> None:
    table = table_of(np.random.default_rng(3).normal(size=(8, 2)))
    one, other = compare_pair(table, A, B).outcome, compare_pair(table, B, A).outcome
    assert one is not None
    assert other is not None
    assert one.effect == pytest.approx(-other.effect)
    assert one.p == other.p


def test_targets_are_averaged_first_so_that_cases_are_counted() -> None:
    """Six targets of one case are one pair, not six."""
    values = np.random.default_rng(1).normal(size=(18, 2))
    pair = compare_pair(table_of(values, num_targets=3), A, B)
    means = (values[:, 1] - values[:, 0]).reshape(6, 3).mean(axis=1)
    assert pair.num_cases == 6
    assert pair.outcome is not None
    assert pair.outcome.p == pytest.approx(stats.wilcoxon(means, method="exact").pvalue)
    assert compare_pair(table_of(values, num_targets=6), A, B).outcome is None


def test_undefined_pairs_are_left_out_and_counted() -> None:
    values = np.random.default_rng(2).normal(size=(10, 2))
    values[0, 0] = values[1, 1] = np.nan
    values[2] = np.nan
    absent = np.zeros(values.shape, dtype=bool)
    absent[3, 1] = True
    absent[2] = True
    pair = compare_pair(table_of(values, absent=absent), A, B)
    assert (pair.num_cases, pair.num_left_out) == (6, 3)
    assert pair.outcome is not None
    rest = values[4:, 0] - values[4:, 1]
    assert pair.outcome.p == pytest.approx(stats.wilcoxon(rest, method="exact").pvalue)


@pytest.mark.parametrize("num", [0, 1, 5])
def test_too_few_cases_are_refused(num: int) -> None:
    values = np.full((7, 2), np.nan)
    values[:num] = 1.0
    pair = compare_pair(table_of(values), A, B)
    assert pair.outcome is None
    assert pair.p_holm is None
    assert pair.refusal == f"{num} paired cases, but 6 are needed"
    assert math.isnan(pair.median_difference) == (num == 0)


def test_all_tests_of_a_score_are_one_family() -> None:
    """Two models, three methods: 3 + 3 within, 3 between."""
    both = [*competitors_of(3, "x"), *competitors_of(3, "y")]
    values = np.random.default_rng(4).normal(size=(8, 6)) + np.arange(6)
    pairs = compare_pairs(table_of(values, competitors=both))
    assert len(pairs) == 9
    p_values = sorted((pair.outcome.p, pair.p_holm) for pair in pairs if pair.outcome)
    assert len(p_values) == 9
    assert p_values[0][1] == pytest.approx(9 * p_values[0][0])
    assert all(p <= corrected for p, corrected in p_values)


def test_refused_pairs_are_not_in_the_family() -> None:
    values = np.random.default_rng(5).normal(size=(8, 3)) + np.arange(3)
    values[3:, 2] = np.nan
    pairs = compare_pairs(table_of(values))
    tested = [pair for pair in pairs if pair.outcome is not None]
    assert [(pair.first, pair.second) for pair in tested] == [(A, B)]
    assert tested[0].p_holm == tested[0].outcome.p


def test_a_score_without_a_better_direction_is_not_tested() -> None:
    assert compare_pairs(table_of(np.ones((8, 3)), "none")) == ()
