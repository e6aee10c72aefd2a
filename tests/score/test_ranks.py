"""Ranks and correlations: SciPy's, ties and all."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from esegeta.score.similarity import average_ranks, cosine, spearman


@pytest.mark.parametrize("levels", [1, 3, 1000])
def test_ranks_are_scipys(levels: int) -> None:
    values = torch.randint(-levels, levels + 1, (200,)).float()
    expected = torch.from_numpy(stats.rankdata(values.numpy()))
    torch.testing.assert_close(average_ranks(values), expected, rtol=0, atol=0)


def test_zeros_of_both_signs_are_tied() -> None:
    ranks = average_ranks(torch.tensor([0.0, -0.0, 1.0, -1.0]))
    assert ranks.tolist() == [2.5, 2.5, 4, 1]


@pytest.mark.parametrize("levels", [2, 1000])
def test_spearman_is_scipys(levels: int) -> None:
    one = torch.randint(-levels, levels + 1, (2, 10, 11)).float()
    other = one + torch.randint(-levels, levels + 1, (2, 10, 11))
    expected = stats.spearmanr(one.flatten().numpy(), other.flatten().numpy()).statistic
    assert spearman(one, other) == pytest.approx(expected, abs=1e-12)
    assert spearman(one, 3 * one**3) == pytest.approx(1, abs=1e-12)
    assert spearman(one, -one) == pytest.approx(-1, abs=1e-12)


def test_correlations_with_constants_are_undefined() -> None:
    some, same = torch.randn(3, 4), torch.full((3, 4), 2.0)
    assert math.isnan(spearman(some, same))
    assert math.isnan(cosine(some, 0 * same))
    assert cosine(same, -same) == -1
    assert cosine(some, some) <= 1
