"""Curves, intervals and gains by closed form."""

import itertools
import math

import pytest

from esegeta.retraining import DiceRow
from esegeta.retraining.intervals import DICE_RANGE, GAIN_RANGE, crossed_interval
from esegeta.retraining.samples import REFERENCE
from esegeta.retraining.summary import summarize_dice, verdict

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


def test_a_point_is_the_mean_over_seeds_and_folds() -> None:
    rows = rows_of("roar", "ig", {0.1: 0.5, 0.5: 0.2}, spread=0.1)
    found = summarize_dice(rows, "random")
    expected = crossed_interval(dict(zip(PAIRS, (0.5, 0.6, 0.7, 0.8), strict=True)), DICE_RANGE)
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
    gaps = dict(zip(PAIRS, (0.3, 0.25, 0.2, 0.15), strict=True))
    expected = crossed_interval(gaps, GAIN_RANGE)
    assert row.gain_over_random == pytest.approx(expected.mean)
    assert (row.gain_low, row.gain_high) == pytest.approx((expected.low, expected.high))


def test_pairs_with_a_missing_network_do_not_count_in_the_gain() -> None:
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
def test_networks_that_learn_nothing_are_warned_of(mode: str, untouched: float) -> None:
    poor = rows_of(mode, REFERENCE, {untouched: 0.35, 1 - untouched: 0.3}, spread=0.1)
    (text,) = verdict(poor, "liver")
    assert "liver: trained on untouched images, the Dice is only 0.050 above" in text
    good = rows_of(mode, REFERENCE, {untouched: 0.55, 1 - untouched: 0.3}, spread=0.1)
    assert verdict(good, "liver") == []
    assert verdict([], "liver") == []
    assert verdict(good, "spleen") == []
