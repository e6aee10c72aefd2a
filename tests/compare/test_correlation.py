"""Spearman's rho against scipy, pooled and within cases and targets."""

import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from esegeta.compare.correlation import correlate, spearman
from tests.compare.tables import table_of


@pytest.mark.parametrize("tied", [False, True])
def test_rho_is_scipys(tied: bool) -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 20))
    if tied:
        x, y = np.round(x), np.round(y)
    assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)


@pytest.mark.parametrize(
    ("x", "y"), [([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1.0, 2.0], [1.0, 2.0]), ([], [])]
)
def test_rho_is_undefined_for_a_constant_and_for_too_few(x: list[float], y: list[float]) -> None:
    assert math.isnan(spearman(np.array(x), np.array(y)))


def test_only_tasks_with_values_of_both_scores_count() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
    one[0, 0] = other[1, 1] = np.nan
    absent = np.zeros((5, 4), dtype=bool)
    absent[2] = True
    (found,) = correlate([table_of(one), table_of(other, name="t", absent=absent)])
    both = np.isfinite(one) & np.isfinite(other) & ~absent
    assert found.num_tasks == both.sum()
    assert found.rho == pytest.approx(spearmanr(one[both], other[both]).statistic)
    rows = [spearmanr(one[r][both[r]], other[r][both[r]]).statistic for r in (0, 1, 3, 4)]
    assert found.num_groups == 4
    assert found.rho_within == pytest.approx(np.mean(rows))


def test_pooled_and_within_correlation_can_have_opposite_signs() -> None:
    """Both scores grow with the case, and order methods the other way round."""
    case = np.arange(6.0)[:, None] * 10
    method = np.arange(4.0)[None]
    (found,) = correlate([table_of(case + method), table_of(case - method, name="t")])
    assert found.rho > 0.8
    assert found.rho_within == pytest.approx(-1)


@pytest.mark.parametrize(
    ("one", "other", "turn"),
    [
        ("lower", "lower", 1),
        ("higher", "higher", 1),
        ("lower", "higher", -1),
        ("none", "higher", 1),
        ("none", "lower", -1),
    ],
)
def test_the_sign_turns_if_scores_improve_in_opposite_directions(
    one: str, other: str, turn: int
) -> None:
    values = np.random.default_rng(2).normal(size=(4, 3))
    (found,) = correlate([table_of(values, one), table_of(values, other, name="t")])
    assert found.turn == turn
