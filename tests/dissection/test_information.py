"""Mutual information as scikit-learn has it, uniform p of what does not depend, bins of ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import normalized_mutual_info_score

from esegeta.dissection.information import Bins, Dependence, dependence, normalised_information

POSITIONS = 600


def pair(seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(POSITIONS, generator=generator)
    return x, (x + noise * torch.randn(POSITIONS, generator=generator)).relu()


@pytest.mark.parametrize("noise", [0.0, 0.3, 100.0])
def test_information_equals_that_of_scikit_learn(noise: float) -> None:
    x, y = pair(0, noise)
    first, second = Bins.of(x).codes(x), Bins.of(y, 7).codes(y)
    found = normalised_information(torch.stack([first, first.flip(0)]), second)
    for row, own in zip(found.tolist(), (first, first.flip(0)), strict=True):
        expected = normalized_mutual_info_score(own.numpy(), second.numpy())
        assert row == pytest.approx(expected, abs=1e-12)


def test_processing_in_portions_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = torch.randint(5, (9, 40), generator=torch.Generator().manual_seed(0))
    whole = normalised_information(codes, codes[0])
    monkeypatch.setattr("esegeta.dissection.information.CODES_AT_A_TIME", 100)
    assert torch.equal(normalised_information(codes, codes[0]), whole)
    assert float(whole[0]) == pytest.approx(1)


def test_a_constant_has_no_information() -> None:
    x = torch.arange(8)
    assert normalised_information(x[None], torch.zeros_like(x)).tolist() == [0.0]
    assert normalised_information(torch.zeros_like(x)[None], x).tolist() == [0.0]
    assert normalised_information(torch.zeros_like(x)[None], 0 * x).tolist() == [0.0]


def test_information_detects_dependence_without_correlation() -> None:
    """A square depends on its root, although they are not correlated."""
    x = torch.linspace(-1, 1, 401)
    y = x.square()
    codes = Bins.of(x).codes(x)
    found = normalised_information(codes[None], Bins.of(y).codes(y))
    assert float(found[0]) > 0.6


def test_bins_have_equal_content_and_follow_order() -> None:
    x, _ = pair(1, 0.0)
    bins = Bins.of(x, 8)
    codes = bins.codes(x)
    assert bins.count == 8
    assert torch.bincount(codes).tolist() == [POSITIONS // 8] * 8
    assert bool((codes[x.argsort()].diff() >= 0).all())


@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_value_that_is_common_has_a_bin_of_its_own(share: float) -> None:
    x, _ = pair(2, 0.0)
    x[: int(share * POSITIONS)] = 0
    bins = Bins.of(x)
    codes = bins.codes(x)
    own = bins.codes(torch.zeros(1))
    assert torch.equal(codes == own, x == 0)
    assert bool((codes[x < 0] < own).all()) and bool((codes[x > 0] > own).all())


@pytest.mark.slow
def test_p_is_uniform_without_dependence() -> None:
    found = []
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.randn(2, 80, generator=generator)
        codes = Bins.of(x, 4).codes(x)
        drawn = torch.stack([codes[torch.randperm(80, generator=generator)] for _ in range(39)])
        found.append(dependence(codes, Bins.of(y, 4).codes(y), drawn).p)
    assert min(found) == pytest.approx(1 / 40)
    # p is one of 1/40, ..., 40/40; half a step makes it continuous.
    assert stats.kstest(np.array(found) - 1 / 80, "uniform").pvalue > 0.01
    assert np.mean(np.array(found) <= 0.05) < 0.09


def test_the_information_expected_by_chance_is_subtracted() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(16, (100,), generator=generator)
    y = torch.randint(16, (100,), generator=generator)
    drawn = torch.stack([x[torch.randperm(100, generator=generator)] for _ in range(200)])
    found = dependence(x, y, drawn)
    assert found.information > 0.3  # of 256 cells and 100 positions, all of it chance
    assert found.weight < 0.1
    own = dependence(x, x, drawn)
    assert own.weight == 1 and own.p == pytest.approx(1 / 201)


def test_draws_equal_to_the_observation_count_in_p() -> None:
    x = torch.arange(20) % 5
    assert dependence(x, x, x.repeat(3, 1)).p == 1
    assert Dependence(1.0, 1.0, 1.0).weight == 0
    assert Dependence(0.2, 0.3, 1.0).weight == 0
    assert Dependence(0.6, 0.2, 0.1).weight == pytest.approx(0.5)


def test_positions_unknown_to_a_draw_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(4, (300,), generator=generator) for _ in range(2))
    known = torch.rand(300, generator=generator) < 0.6
    found = normalised_information(torch.where(known, x, -1)[None], y)
    expected = normalised_information(x[known][None], y[known])
    assert float(found[0]) == pytest.approx(float(expected[0]), rel=1e-12)
    assert float(normalised_information(torch.full((1, 300), -1), y)[0]) == 0
