"""Intervals over seeds and folds: by closed form, and how often they cover the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from esegeta.retraining.intervals import DICE_RANGE, crossed_interval

WIDE = (-9.0, 9.0)


def of_table(table: np.ndarray, limits: tuple[float, float] = WIDE) -> object:
    values = {pair: float(value) for pair, value in np.ndenumerate(table)}
    return crossed_interval(values, limits)  # type: ignore[arg-type]


def test_with_one_seed_the_interval_is_students_over_folds() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 6)
    found = of_table(values[None])
    low, high = stats.t.interval(0.95, 5, loc=values.mean(), scale=stats.sem(values))
    assert (found.n, found.mean) == (6, pytest.approx(values.mean()))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_equal_seeds_do_not_narrow_the_interval_over_folds() -> None:
    """Seeds that change nothing are no further values."""
    values = np.array([0.4, 0.5, 0.75])
    found = of_table(np.tile(values, (4, 1)))
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert found.n == 12
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_the_variance_is_that_of_a_two_way_table() -> None:
    """By hand: M of seeds .045, of folds .125, of the rest .005; (.045 + .125 - .005) / 4."""
    table = np.array([[0.3, 0.6], [0.5, 0.7]])
    seed, fold, rest = 0.0225, 0.0625, 0.0025
    variance = (seed + fold - rest) / 4
    freedom = (seed + fold - rest) ** 2 / (seed**2 + fold**2 + rest**2)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    found = of_table(table)
    assert (found.low, found.high) == (
        pytest.approx(found.mean - reach),
        pytest.approx(found.mean + reach),
    )


@pytest.mark.parametrize(
    ("seed_sd", "fold_sd", "rest_sd"),
    [(0.0, 0.0, 0.05), (0.02, 0.1, 0.02), (0.0, 0.05, 0.01), (0.05, 0.05, 0.05)],
)
def test_the_interval_covers_at_least_as_often_as_it_says(
    seed_sd: float, fold_sd: float, rest_sd: float
) -> None:
    """Independent networks were assumed once: with folds that differ 65 % were covered."""
    random = np.random.default_rng(1)
    covered, trials = 0, 600
    for _ in range(trials):
        table = 0.5 + seed_sd * random.normal(size=(3, 1)) + fold_sd * random.normal(size=(1, 3))
        found = of_table(table + rest_sd * random.normal(size=(3, 3)))
        covered += found.low <= 0.5 <= found.high
    assert covered / trials > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_an_interval_stays_within_what_a_dice_can_be() -> None:
    found = of_table(np.array([[0.9, 0.99], [0.95, 1.0]]), DICE_RANGE)
    assert found.high == 1
    assert 0 <= found.low < found.mean


def test_a_missing_pair_is_filled_in_and_costs_a_degree_of_freedom() -> None:
    """By hand: effects that add up, .35 + .05 for the gap, and nothing left of the rest."""
    table = np.array([[0.3, 0.6, 0.35], [0.5, 0.8, math.nan]])
    found = of_table(table)
    seed, fold = 3 * 0.02, 2 * np.var([0.4, 0.7, 0.45], ddof=1)
    freedom = (seed + fold) ** 2 / (seed**2 + fold**2 / 2)
    reach = stats.t.ppf(0.975, freedom) * math.sqrt((seed + fold) / 5)
    assert (found.n, found.mean) == (5, pytest.approx(0.51))
    assert found.high - found.mean == pytest.approx(reach)


@pytest.mark.parametrize("missing", [1, 3])
def test_a_missing_network_does_not_hide_the_variance_over_seeds(missing: int) -> None:
    """The means of folds alone covered 43 % here: they do not know about seeds."""
    random = np.random.default_rng(2)
    covered, trials = 0, 400
    for _ in range(trials):
        table = 0.5 + 0.05 * random.normal(size=(3, 1)) + 0.01 * random.normal(size=(1, 5))
        table += 0.01 * random.normal(size=(3, 5))
        table.ravel()[random.permutation(15)[:missing]] = math.nan
        found = of_table(table)
        covered += found.low <= 0.5 <= found.high
    assert covered / trials > 0.95 - 4 * math.sqrt(0.95 * 0.05 / trials)


def test_pairs_without_common_folds_use_the_means_of_folds() -> None:
    table = np.array([[0.3, 0.6, math.nan], [math.nan, math.nan, 0.5]])
    found = of_table(table)
    means = np.array([0.3, 0.6, 0.5])
    reach = stats.t.ppf(0.975, 2) * stats.sem(means)
    assert (found.n, found.mean) == (3, pytest.approx(means.mean()))
    assert found.high - found.mean == pytest.approx(reach)


def test_one_fold_has_no_interval() -> None:
    found = of_table(np.array([[0.5], [0.6]]))
    assert (found.n, found.mean) == (2, pytest.approx(0.55))
    assert math.isnan(found.low) and math.isnan(found.high)
    nothing = crossed_interval({}, DICE_RANGE)
    assert nothing.n == 0 and math.isnan(nothing.mean)
