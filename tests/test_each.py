"""A test of many cases fails with the name of each bad one, and passes where there is none."""

from __future__ import annotations

import pytest
import torch

from tests.each import for_each


def test_every_failing_case_is_reported() -> None:
    @for_each([1, 2, 3, 4])
    def check(number: int) -> None:
        assert number % 2
        if number == 3:
            raise ValueError("three")

    with pytest.raises(AssertionError) as caught:
        check()
    told = str(caught.value)
    assert "2: AssertionError" in told and "4: AssertionError" in told
    assert "3: ValueError: three" in told and "1:" not in told


def test_no_cases_count_as_a_failure() -> None:
    with pytest.raises(AssertionError):
        for_each([])(lambda: None)()


def test_every_case_starts_with_the_same_seed() -> None:
    drawn = []
    for_each([("a", 1), ("b", 2)])(lambda name, number: drawn.append(float(torch.rand(()))))()
    assert len(drawn) == 2 and drawn[0] == drawn[1]
