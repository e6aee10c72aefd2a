"""p beyond the last draw: never below the truth where the tail is known, and calibrated there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from esegeta.dissection.chance import p_values
from esegeta.dissection.tail import least_p, tail_p_values
from esegeta.dissection.tally import OverlapTally

DRAWS = 1000


def p_of(observed: list[float], draws: np.ndarray) -> torch.Tensor:
    """Return p of overlaps, each with draws of its own, `D U`."""
    both = torch.tensor(observed).long()[:, None]
    sizes = torch.full((len(observed),), 10**7)
    tally = OverlapTally(both, sizes, sizes[:1], 10**8)
    drawn = torch.from_numpy(draws.astype(np.int64))[:, :, None]
    found = tail_p_values(tally, drawn)
    assert bool((found <= p_values(tally, drawn)).all())
    return found[:, 0]


def test_p_of_an_exponential_tail_is_exact() -> None:
    """The mean excess of 100 draws is off by a tenth, and so is the exponent."""
    draws = np.random.default_rng(0).exponential(1000, (DRAWS, 20))
    for true in (1e-3, 1e-4, 1e-5):
        found = p_of([-1000 * math.log(true)] * 20, draws)
        assert float(found.log().mean()) == pytest.approx(math.log(true), rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(
    "law",
    [
        stats.binom(400, 0.1),
        stats.beta(2, 8, scale=1000),
        stats.norm(5000, 300),
        stats.betabinom(400, 1, 9),
    ],
)
def test_p_of_light_tails_is_not_too_small(law: object) -> None:
    """Lighter tails than an exponential, and one that is as heavy: p is too large, if anything."""
    draws = law.rvs(size=(DRAWS, 200), random_state=np.random.default_rng(1))
    fresh = law.rvs(size=(60, 200), random_state=np.random.default_rng(2))
    found = torch.stack([p_of(list(np.floor(row)), np.floor(draws)) for row in fresh])
    for level in (1e-2, 1e-3, 2e-4):
        # 12,000 nulls; draws are shared by 200 of them, so that the count varies more.
        assert float((found <= level).double().mean()) < 1.3 * level + 2e-4


def test_too_few_nonzero_draws_have_no_fitted_tail() -> None:
    """Where hardly any draw meets the concept nothing is known beyond the draws."""
    draws = np.zeros((DRAWS, 1))
    draws[:30] = 50
    assert float(p_of([60], draws)) == pytest.approx(1 / (DRAWS + 1))
    draws[:80] = np.arange(80)[:, None] * 10
    # Zero to 790, evenly: the tail's mean is raised by how much it varies.
    assert float(p_of([800], draws)) > 1e-3 / 2


def test_few_draws_have_no_tail_and_p_has_a_floor() -> None:
    generator = np.random.default_rng(0)
    assert float(p_of([10**6], generator.exponential(10, (499, 1)))) == pytest.approx(1 / 500)
    assert float(p_of([10**6], generator.exponential(10, (DRAWS, 1)))) == pytest.approx(1e-6)
    assert least_p(499) == 1 / 500 and least_p(DRAWS) == 1e-6


def test_p_of_a_value_that_ten_draws_reach_is_their_share() -> None:
    draws = np.random.default_rng(3).exponential(1000, (DRAWS, 1))
    tenth = float(np.sort(np.floor(draws[:, 0]))[-10])
    assert float(p_of([tenth], draws)) == pytest.approx(11 / (DRAWS + 1))
