"""Holm's correction: a slow rewrite, and values by hand."""

import math

import numpy as np
import pytest

from esegeta.multiple_tests import holm


def slow_holm(p_values: list[float]) -> list[float]:
    """Step down: the smallest times m, the next times m - 1; never below the one before."""
    left = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for step, place in enumerate(left):
        floor = max(floor, min(1.0, (len(p_values) - step) * p_values[place]))
        adjusted[place] = floor
    return adjusted


@pytest.mark.parametrize("num", [1, 2, 7, 40])
def test_holm_is_the_slow_one(num: int) -> None:
    p_values = np.random.default_rng(num).uniform(0, 0.2, num)
    p_values[num // 2 :] = np.round(p_values[num // 2 :], 2)  # ties
    assert holm(p_values.tolist()) == pytest.approx(slow_holm(p_values.tolist()))


def test_holm_of_known_values() -> None:
    found = holm([0.01, 0.04, 0.03, 0.005])
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_holm_steps_down() -> None:
    """By hand: 4 x .01, 3 x .02, 2 x .03 (not below .06), 1 x .04 (not below .06)."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    refused = holm([0.01, math.nan])
    assert refused[0] == pytest.approx(0.02) and math.isnan(refused[1])
