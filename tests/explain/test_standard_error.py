"""Intervals of the length that the facts say cover the truth as often as they say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.perturbation.kernel_shap import (
    degrees_of_freedom,
    draw_coalitions,
    kernel_shap_errors,
    solve_kernel_shap,
)
from esegeta.explain.standard_error import confidence, t_quantile

Game = tuple[Callable[[Tensor], Tensor], Tensor]


def triples(count: int, seed: int) -> Game:
    """A sum of products of three players each, whose values are thirds of the coefficients."""
    draws = torch.Generator().manual_seed(seed)
    own = torch.randn(count, generator=draws, dtype=torch.float64)
    rows = torch.rand(3 * count, count, generator=draws).argsort(dim=1)[:, :3]
    weights = torch.randn(len(rows), generator=draws, dtype=torch.float64)
    values = own.index_add(0, rows.flatten(), (weights / 3).repeat_interleave(3))
    return (lambda z: z.double() @ own + z.double()[:, rows].prod(dim=2) @ weights), values


def airport(count: int, seed: int) -> Game:
    """The most expensive of those who are there (Littlechild and Owen 1973)."""
    costs = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ascending, order = costs.sort()
    steps = ascending.diff(prepend=torch.zeros(1, dtype=torch.float64))
    values = torch.empty_like(costs)
    values[order] = (steps / torch.arange(count, 0, -1)).cumsum(0)
    return (lambda z: (z.double() * costs).amax(dim=1)), values


def coverage(game: Game, samples: int, *, seeds: int) -> float:
    """Return the share of values within their 95 % intervals, over players and seeds."""
    value, truth = game
    count = len(truth)
    none, everyone = value(torch.tensor([[False], [True]]).expand(2, count))
    inside = []
    for seed in range(seeds):
        drawn = draw_coalitions(count, samples, seed=seed)
        gains = value(drawn.coalitions)
        found = solve_kernel_shap(
            drawn.coalitions, gains, none=none, everyone=everyone, weights=drawn.weights
        )
        errors = kernel_shap_errors(drawn, gains - none, found)
        reach = t_quantile(degrees_of_freedom(drawn)) * errors
        inside.append(((found - truth).abs() <= reach).double().mean())
    return float(torch.stack(inside).mean())


@pytest.mark.parametrize(
    ("count", "samples", "seeds"),
    [(100, 512, 12), (60, 512, 12), (30, 512, 30), (100, 256, 12), (20, 100, 60)],
)
@pytest.mark.parametrize("game", [triples, airport])
@pytest.mark.slow
def test_intervals_of_kernel_shap_cover_the_true_values(
    game: Callable[[int, int], Game], count: int, samples: int, seeds: int
) -> None:
    """Uncorrected ones of 100 features covered 76 % of 512 coalitions, 60 % of 256."""
    assert 0.9 <= coverage(game(count, 1), samples, seeds=seeds) <= 0.98


def test_intervals_of_kernel_shap_cover_the_true_values_by_default() -> None:
    """100 features, 512 coalitions; they covered 76 %."""
    assert 0.9 <= coverage(triples(100, 1), 512, seeds=2) <= 0.98


def test_one_equation_a_feature_has_no_standard_error() -> None:
    drawn = draw_coalitions(30, 58, seed=0)
    value, _ = triples(30, 0)
    gains = value(drawn.coalitions)
    with pytest.raises(ConfigError, match="too few to estimate a standard error"):
        kernel_shap_errors(drawn, gains, torch.zeros(30, dtype=torch.float64))


def test_an_interval_of_few_draws_uses_students_t() -> None:
    assert confidence(7) == {
        "degrees_of_freedom": 7,
        "t_95": pytest.approx(2.364624, rel=1e-6),
    }
    for degrees in (1, 3, 15, 500):
        assert t_quantile(degrees) == pytest.approx(float(stats.t.ppf(0.975, degrees)), rel=1e-9)
