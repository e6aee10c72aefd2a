"""Chance and spread: what pairing cases anew keeps, and what drawing them anew gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.similarity import (
    Moments,
    UnitLayout,
    copies_of_cases,
    gram_cka,
    interval,
    linear_cka,
    linear_grams,
    orders_of_cases,
    paired_hsic,
    paired_rows,
    resampled,
    share_reaching,
)
from tests.similarity.test_alignment import noise


def test_positions_are_paired_with_their_label_in_another_case() -> None:
    case = torch.tensor([0] * 6 + [1] * 5 + [2] * 4)
    label = torch.tensor([0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0])
    left, right = paired_rows(case, label, torch.tensor([0, 1, 2]))
    assert left.equal(right) and sorted(left.tolist()) == list(range(15))
    order = torch.tensor([1, 2, 0])
    left, right = paired_rows(case, label, order)
    assert label[left].equal(label[right]) and order[case[left]].equal(case[right])
    assert len(left.unique()) == len(left) and len(right.unique()) == len(right)
    counts = {k: int((case[left] == k).sum()) for k in range(3)}
    assert counts == {0: 2 + 3, 1: 2, 2: 3}, "as many as both cases have of a label"


def test_p_is_the_share_of_draws_that_reach_it() -> None:
    observed = torch.tensor([[0.5, torch.nan], [0.0, 0.9]])
    null = torch.zeros((4, 2, 2))
    null[:, 0, 0] = torch.tensor([0.1, 0.5, 0.7, torch.nan])
    found = share_reaching(observed, null)
    assert found[0, 0] == pytest.approx(4 / 5) and found[0, 1].isnan()
    assert found[1].tolist() == pytest.approx([1, 1 / 5])


def p_of(seed: int, related: float) -> float:
    """Return p of two layers over six cases whose values are those of their case and noise."""
    layout, count = UnitLayout((2, 2)), 8
    case = torch.arange(6).repeat_interleave(count)
    x, y = noise(6, 2, seed)[case], noise(6, 2, seed + 500)[case]
    data = torch.cat([x, y + related * x], dim=1) + 0.3 * noise(len(case), 4, seed + 900)
    label = torch.zeros(len(case), dtype=torch.int64)
    observed = paired_hsic(data, data, layout)[0]
    null = []
    for order in orders_of_cases(6, 39, seed):
        left, right = paired_rows(case, label, order)
        null.append(paired_hsic(data[left], data[right], layout)[0])
    return float(share_reaching(observed, torch.stack(null))[0, 1])


@pytest.mark.slow
def test_permuting_cases_keeps_the_significance_level() -> None:
    """Positions of a case are alike; taken for so many witnesses, they would find p < 0.05."""
    null = [p_of(seed, 0.0) for seed in range(40)]
    assert np.mean([p <= 0.05 for p in null]) <= 0.12
    assert 0.35 < np.mean(null) < 0.65
    assert np.mean([p_of(seed, 3.0) for seed in range(8)]) < 0.1


def test_sums_of_drawn_cases_equal_copies_of_positions() -> None:
    layout = UnitLayout((3, 2))
    parts = [noise(n, 5, n) + n for n in (9, 14, 7)]
    copies = torch.tensor([[1, 1, 1], [2, 0, 1], [0, 3, 0]]).double()

    def sums() -> list[Moments]:
        return [Moments.of(part, layout) for part in parts]

    for room_mb in (1e-9, 1):
        found = list(resampled(sums, copies, room_mb=room_mb))
        for row, one in zip(copies.long().tolist(), found, strict=True):
            data = torch.cat([part for part, n in zip(parts, row, strict=True) for _ in range(n)])
            expected = gram_cka(linear_grams(data, layout))
            torch.testing.assert_close(linear_cka(one), expected)


def test_every_bootstrap_draw_has_as_many_cases() -> None:
    copies = copies_of_cases(7, 50, seed=1)
    assert (copies.sum(dim=1) == 7).all() and len(copies.unique(dim=0)) > 40
    values = torch.arange(101.0).reshape(-1, 1, 1)
    low, high = interval(values)
    assert float(low) == pytest.approx(2.5) and float(high) == pytest.approx(97.5)
