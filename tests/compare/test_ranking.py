"""Ranks against scipy, by hand, and what becomes of gaps."""

import numpy as np
import pytest
from scipy.stats import rankdata

from esegeta.compare.score_table import rank_competitors
from tests.compare.tables import competitors_of, table_of


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_ranks_are_scipys_case_by_case(better: str) -> None:
    values = np.random.default_rng(0).integers(0, 6, (7, 5)).astype(float)
    ranking = rank_competitors(table_of(values, better))
    turned = values if better == "lower" else -values
    expected = np.array([rankdata(row, method="average") for row in turned])
    np.testing.assert_array_equal(ranking.ranks, expected)
    np.testing.assert_array_equal(ranking.values, values)
    means = dict(zip(competitors_of(5), expected.mean(axis=0), strict=True))
    assert ranking.mean_ranks() == pytest.approx(means)


def test_targets_are_averaged_before_ranks_are_formed() -> None:
    """In case 0 a wins on two targets of three, and loses on average."""
    values = np.array([[1.0, 2.0], [1.0, 2.0], [9.0, 3.0]])
    ranking = rank_competitors(table_of(values, num_targets=3))
    assert ranking.cases == ("c0",)
    assert ranking.ranks.tolist() == [[2.0, 1.0]]
    assert ranking.values == pytest.approx(np.array([[11 / 3, 7 / 3]]))


def test_ties_share_their_ranks() -> None:
    ranking = rank_competitors(table_of(np.array([[0.5, 0.1, 0.5, 0.5]])))
    assert ranking.ranks.tolist() == [[3.0, 1.0, 3.0, 3.0]]


def test_an_undefined_value_drops_its_task_not_its_case() -> None:
    """Target 1 of case 0 is undefined for b: nobody's value of it counts there."""
    values = np.array([[3.0, 2.0], [-9.0, np.nan], [1.0, 2.0], [1.0, 2.0]])
    ranking = rank_competitors(table_of(values, num_targets=2))
    assert ranking.cases == ("c0", "c1")
    assert ranking.values.tolist() == [[3.0, 2.0], [1.0, 2.0]]


def test_a_method_with_too_many_undefined_values_is_left_out() -> None:
    values = np.arange(12.0).reshape(4, 3)
    values[1:, 1] = np.nan
    ranking = rank_competitors(table_of(values))
    a, b, c = competitors_of(3)
    assert (ranking.competitors, ranking.left_out) == ((a, c), (b,))
    assert ranking.ranks.shape == (4, 2)


def test_up_to_half_of_the_cases_may_be_undefined() -> None:
    values = np.arange(12.0).reshape(4, 3)
    values[2:, 1] = np.nan
    ranking = rank_competitors(table_of(values))
    assert ranking.left_out == ()
    assert ranking.cases == ("c0", "c1")


def test_models_on_different_cases_are_not_ranked_together() -> None:
    both = [*competitors_of(2, "x"), *competitors_of(2, "y")]
    values = np.random.default_rng(1).normal(size=(6, 4))
    absent = np.zeros(values.shape, dtype=bool)
    absent[:3, 2:] = absent[3:, :2] = True
    ranking = rank_competitors(table_of(values, competitors=both, absent=absent))
    assert {one.model for one in ranking.competitors} == {"x"}
    assert {one.model for one in ranking.left_out} == {"y"}


@pytest.mark.parametrize(
    ("values", "better", "why"),
    [
        (np.ones((3, 1)), "lower", "one competitor"),
        (np.ones((3, 2)), "none", "neither high nor low"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "lower", "no case"),
        (np.full((2, 2), np.nan), "lower", "no case"),
    ],
)
def test_rankings_are_refused_with_a_reason(values: np.ndarray, better: str, why: str) -> None:
    ranking = rank_competitors(table_of(values, better))
    assert why in ranking.refusal
    assert ranking.competitors == ()
    assert ranking.mean_ranks() == {}
