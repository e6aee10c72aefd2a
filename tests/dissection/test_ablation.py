"""What switching units off comes to: known changes, honest intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from esegeta.dissection import effect_of, random_sets


def test_random_sets_are_distinct_and_of_equal_size() -> None:
    sets = random_sets(30, (3, 7), draws=50, seed=1)
    assert len(set(sets)) == len(sets) == 50
    assert all(len(some) == 2 and not {3, 7} & set(some) for some in sets)
    assert sets == random_sets(30, (3, 7), draws=50, seed=1)
    assert sets != random_sets(30, (3, 7), draws=50, seed=2)


def test_all_sets_are_taken_if_there_are_few() -> None:
    assert random_sets(4, (1,), draws=20, seed=0) == [(0,), (2,), (3,)]
    assert random_sets(3, (0, 1), draws=20, seed=0) == []


def test_an_effect_by_hand() -> None:
    whole, off = np.array([0.9, 0.8]), np.array([0.4, 0.5])
    randoms = np.array([[0.8, 0.8], [0.9, 0.6]])
    found = effect_of(whole, off, randoms, seed=0)
    assert found.dice == pytest.approx(0.85)
    assert found.change == pytest.approx(-0.4)
    assert found.random_change == pytest.approx(-0.075)
    assert found.effect == pytest.approx(-0.325)
    assert found.low <= found.effect <= found.high
    assert found.p == pytest.approx(1 / 3)


@pytest.mark.slow
def test_intervals_cover_the_true_effect() -> None:
    """30 cases, 20 draws, a true effect of -0.1: near 95 of 100 intervals hold it."""
    generator = np.random.default_rng(3)
    held = 0
    for seed in range(100):
        whole = generator.uniform(0.7, 0.9, 30)
        off = whole - 0.15 + generator.normal(0, 0.05, 30)
        randoms = whole - 0.05 + generator.normal(0, 0.05, (20, 30))
        found = effect_of(whole, off, randoms, seed=seed)
        held += found.low <= -0.1 <= found.high
    assert 88 <= held <= 99


def test_cases_without_the_label_are_left_out() -> None:
    whole, off = np.array([0.9, math.nan]), np.array([0.4, 0.0])
    found = effect_of(whole, off, np.array([[0.8, 0.1]]), seed=0)
    assert found.change == pytest.approx(-0.5) and found.cases == 1
    none = effect_of(np.array([math.nan]), np.array([0.0]), np.array([[0.0]]), seed=0)
    assert math.isnan(none.effect) and math.isnan(none.change)


def test_without_random_units_there_is_no_effect() -> None:
    found = effect_of(np.array([0.9]), np.array([0.4]), np.zeros((0, 1)), seed=0)
    assert found.change == pytest.approx(-0.5)
    assert math.isnan(found.effect) and math.isnan(found.low) and math.isnan(found.p)
