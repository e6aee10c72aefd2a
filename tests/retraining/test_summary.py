"""Curves, intervals and gains by closed form."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from esegeta.retraining import DiceRow
from esegeta.retraining.samples import REFERENCE
from esegeta.retraining.summary import summarize_dice, t_interval, verdict

PAIRS = list(itertools.product((0, 7), (0, 1)))


def rows_of(
    mode: str, method: str, curve: dict[float, float], spread: float = 0.0
) -> list[DiceRow]:
    """Return rows whose Dice is the curve's, plus `spread` times the number of the pair."""
    return [
        DiceRow(mode, method, fraction, seed, fold, "liver", dice + spread * place)
        for fraction, dice in curve.items()
        for place, (seed, fold) in enumerate(PAIRS)
    ]


def test_the_interval_is_students() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 6)
    found = t_interval(values)
    low, high = stats.t.interval(0.95, 5, loc=values.mean(), scale=stats.sem(values))
    assert (found.n, found.mean) == (6, pytest.approx(values.mean()))
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    # By hand: t(0.975, 1) = 12.706, s = sqrt(2) / 10, s / sqrt(2) = 0.1.
    two = t_interval([0.4, 0.6])
    assert (two.mean, two.low, two.high) == pytest.approx(
        (0.5, 0.5 - 1.2706, 0.5 + 1.2706), abs=1e-4
    )


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    found = [t_interval(random.normal(0.5, 0.2, 4)) for _ in range(2000)]
    covered = sum(one.low <= 0.5 <= one.high for one in found)
    assert abs(covered - 1900) < 5 * math.sqrt(2000 * 0.95 * 0.05)


def test_few_values_have_no_interval() -> None:
    one = t_interval([0.5, math.nan])
    assert (one.n, one.mean) == (1, 0.5)
    assert math.isnan(one.low)
    assert math.isnan(one.high)
    assert t_interval([]).n == 0
    assert math.isnan(t_interval([]).mean)


def test_a_point_is_the_mean_over_seeds_and_folds() -> None:
    rows = rows_of("roar", "ig", {0.1: 0.5, 0.5: 0.2}, spread=0.1)
    found = summarize_dice(rows, "random")
    expected = t_interval([0.5, 0.6, 0.7, 0.8])
    first = found[0]
    assert (first.mode, first.method, first.label, first.fraction) == ("roar", "ig", "liver", 0.1)
    assert (first.n, first.mean, first.low, first.high) == (
        4,
        expected.mean,
        expected.low,
        expected.high,
    )
    assert [row.fraction for row in found] == [0.1, 0.5]
    assert all(math.isnan(row.gain_over_random) for row in found)


@pytest.mark.parametrize(("mode", "sign"), [("roar", 1), ("kar", -1)])
def test_the_gain_is_the_area_between_two_curves(mode: str, sign: int) -> None:
    random = {0.2: 0.8, 0.6: 0.6}
    method = {0.2: 0.5, 0.6: 0.4}
    spread = 0.01  # both curves of a pair move alike: it cancels, networks of a pair are compared
    rows = rows_of(mode, "ig", method, spread) + rows_of(mode, "random", random, spread)
    found = {row.method: row for row in summarize_dice(rows, "random")}
    # Gaps of 0, 0.3, 0.2, 0 at 0, 0.2, 0.6, 1 by trapezoids.
    area = 0.2 * 0.3 / 2 + 0.4 * (0.3 + 0.2) / 2 + 0.4 * 0.2 / 2
    assert found["ig"].gain_over_random == pytest.approx(sign * area)
    assert found["ig"].gain_low == pytest.approx(sign * area)
    assert found["ig"].gain_high == pytest.approx(sign * area)
    assert math.isnan(found["random"].gain_over_random)


def test_the_gain_of_pairs_has_an_interval() -> None:
    rows = rows_of("roar", "ig", {0.5: 0.2}, spread=0.1) + rows_of("roar", "random", {0.5: 0.8})
    row = next(row for row in summarize_dice(rows, "random") if row.method == "ig")
    expected = t_interval([0.5 * gap for gap in (0.6, 0.5, 0.4, 0.3)])
    assert row.gain_over_random == pytest.approx(expected.mean)
    assert (row.gain_low, row.gain_high) == pytest.approx((expected.low, expected.high))


def test_pairs_that_lack_a_network_take_no_part_in_the_gain() -> None:
    rows = rows_of("roar", "ig", {0.3: 0.4, 0.5: 0.2}) + rows_of(
        "roar", "random", {0.3: 0.7, 0.5: 0.8}
    )
    torn = [
        row for row in rows if (row.method, row.fraction, row.seed, row.fold) != ("ig", 0.3, 7, 1)
    ]
    found = {(row.method, row.fraction): row for row in summarize_dice(torn, "random")}
    assert found["ig", 0.3].n == 3
    assert found["ig", 0.5].n == 4
    whole = {(row.method, row.fraction): row for row in summarize_dice(rows, "random")}
    gain = found["ig", 0.5].gain_over_random
    assert gain == pytest.approx(whole["ig", 0.5].gain_over_random)
    undefined = [
        DiceRow(*row[:-1], math.nan) if row[1] == "ig" and row[3:5] == (0, 0) else DiceRow(*row)
        for row in (tuple(vars(row).values()) for row in rows)
    ]
    assert {row.n for row in summarize_dice(undefined, "random") if row.method == "ig"} == {3}


@pytest.mark.parametrize(("mode", "untouched"), [("roar", 0.0), ("kar", 1.0)])
def test_networks_that_learn_nothing_are_told_of(mode: str, untouched: float) -> None:
    poor = rows_of(mode, REFERENCE, {untouched: 0.35, 1 - untouched: 0.3}, spread=0.1)
    (text,) = verdict(poor, "liver")
    assert "liver: trained on untouched images, Dice is only 0.050 above" in text
    good = rows_of(mode, REFERENCE, {untouched: 0.55, 1 - untouched: 0.3}, spread=0.1)
    assert verdict(good, "liver") == []
    assert verdict([], "liver") == []
    assert verdict(good, "spleen") == []
