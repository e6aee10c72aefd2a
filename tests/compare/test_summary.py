"""Median and quartiles over tasks, and what is counted."""

import math

import numpy as np
import pytest

from esegeta.compare.score_table import mean_by_case, summarize
from tests.compare.tables import table_of


def test_quartiles_are_numpys_over_all_tasks() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3))
    for column, one in enumerate(summarize(table_of(values, num_targets=3))):
        expected = np.percentile(values[:, column], (50, 25, 75))
        assert (one.median, one.q1, one.q3) == pytest.approx(tuple(expected))
        assert (one.num_defined, one.num_undefined) == (12, 0)


def test_undefined_values_are_counted_and_absent_ones_are_not() -> None:
    values = np.array([[1.0, np.nan], [2.0, np.nan], [4.0, 7.0]])
    absent = np.array([[False, True], [False, False], [False, False]])
    one, other = summarize(table_of(values, absent=absent))
    assert (one.num_defined, one.num_undefined, one.median) == (3, 0, 2.0)
    assert (other.num_defined, other.num_undefined, other.median) == (1, 1, 7.0)


def test_nothing_but_undefined_values_has_no_median() -> None:
    (one,) = summarize(table_of(np.full((2, 1), np.nan)))
    assert (one.num_defined, one.num_undefined) == (0, 2)
    assert math.isnan(one.median)
    assert math.isnan(one.q1)


def test_targets_are_averaged_within_their_case() -> None:
    values = np.array([[1.0, 2.0], [10.0, 20.0], [3.0, 4.0]])
    cases, means = mean_by_case(values, ["b", "a", "b"])
    assert cases == ("b", "a")
    assert means.tolist() == [[2.0, 3.0], [10.0, 20.0]]
    cases, means = mean_by_case(np.zeros((0, 2)), [])
    assert cases == ()
    assert means.shape == (0, 2)
