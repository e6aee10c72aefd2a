"""LIME: a weighted regression, written out, and what its facts say."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import Features, Lime
from esegeta.explain.perturbation.lime import closeness, fit_linear
from tests.builders import linear, predictor, unet, volume
from tests.oracles import everywhere, frozen, linear_weights, relative_gap

SHAPES = {2: (11, 9), 3: (9, 8, 7)}
BLOCKS = Features("blocks", side_mm=4.0)


def ridge(coalitions: Tensor, values: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """Return the ridge solution by its normal equations, the intercept last and free."""
    design = torch.cat([coalitions.double(), torch.ones(len(values), 1)], dim=1)
    penalty = alpha * torch.eye(design.shape[1], dtype=torch.float64)
    penalty[-1, -1] = 0
    left = design.T @ (weights[:, None] * design) + penalty
    return torch.linalg.solve(left, design.T @ (weights * values))


def some_game(count: int = 6, rows: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    coalitions = torch.rand((rows, count), generator=generator) < 0.5
    values = 1e4 + 300 * torch.randn(rows, generator=generator, dtype=torch.float64)
    return coalitions, values


def test_ridge_is_its_normal_equations() -> None:
    coalitions, values = some_game()
    weights = closeness(coalitions, "cosine", 0.3)
    found = fit_linear(coalitions, values, weights=weights, regression="ridge", alpha=2.0)
    expected = ridge(coalitions, values, weights, 2.0)
    torch.testing.assert_close(found.values, expected[:-1], rtol=1e-9, atol=1e-9)
    assert found.intercept == pytest.approx(float(expected[-1]), rel=1e-10)
    slack = values - coalitions.double() @ expected[:-1] - expected[-1]
    mean = (weights * values).sum() / weights.sum()
    r2 = 1 - (weights * slack**2).sum() / (weights * (values - mean) ** 2).sum()
    assert found.r2 == pytest.approx(float(r2), rel=1e-9)


def test_lasso_meets_its_optimality_conditions_in_units_of_the_target() -> None:
    coalitions, values = some_game()
    weights = closeness(coalitions, "hamming", 0.5)
    alpha = 0.08
    found = fit_linear(coalitions, values, weights=weights, regression="lasso", alpha=alpha)
    share = weights / weights.sum()
    mean = (share * values).sum()
    scale = (share * (values - mean) ** 2).sum().sqrt()
    slack = values - coalitions.double() @ found.values - found.intercept
    slopes = coalitions.double().T @ (share * slack) / scale
    zero = found.values == 0
    assert 0 < int(zero.sum()) < 6
    assert (slopes[zero].abs() <= alpha * 1.001).all()
    torch.testing.assert_close(
        slopes[~zero], alpha * found.values[~zero].sign(), rtol=2e-2, atol=0.0
    )
    scaled = fit_linear(coalitions, 7 * values, weights=weights, regression="lasso", alpha=alpha)
    torch.testing.assert_close(scaled.values, 7 * found.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "hamming"])
def test_the_kernel_weighs_by_the_distance_to_all_features(distance: str) -> None:
    coalitions, _ = some_game()
    z, ones = coalitions.double(), torch.ones(6, dtype=torch.float64)
    cosine = 1 - z @ ones / (z.norm(dim=1) * ones.norm()).clamp(min=1e-12)
    hamming = (z != ones).double().mean(dim=1)
    gap = cosine if distance == "cosine" else hamming
    expected = torch.exp(-(gap**2) / 0.4**2)
    torch.testing.assert_close(closeness(coalitions, distance, 0.4), expected)


@pytest.mark.parametrize("distance", ["cosine", "hamming"])
@pytest.mark.slow
def test_the_value_of_a_feature_of_a_linear_network_is_its_sum(ndim: int, distance: str) -> None:
    model = predictor(linear(ndim, in_channels=2, kernel=3), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    method = Lime(BLOCKS, "zero", samples=60, alpha=0.0, distance=distance, spread=True)
    found = method.explain(model, image, target)
    labels = BLOCKS.of(image).labels
    worth = (linear_weights(model, target) * image.data).sum(dim=0)
    expected = torch.zeros_like(worth)
    for region in range(int(labels.max()) + 1):
        expected[labels == region] = worth[labels == region].sum()
    assert relative_gap(found.data[0], expected) < 2e-5
    assert found.facts.more["r2"] == pytest.approx(1.0, abs=1e-6)
    assert found.facts.more["intercept"] == pytest.approx(0.0, abs=1e-3)
    assert found.standard_error is not None
    assert float(found.standard_error.abs().max()) < 1e-4 * float(found.data.abs().max())


def test_too_few_samples_are_refused_with_what_to_do() -> None:
    image, model = volume((16, 16)), predictor(unet(2), (8, 8))
    with pytest.raises(ConfigError, match=r"17 are too few for 16 features; .* needs 18 or more"):
        Lime(BLOCKS, samples=17).explain(model, image, frozen(model, image))


@pytest.mark.parametrize("regression", ["ridge", "lasso"])
def test_a_constant_target_has_only_an_intercept(regression: str) -> None:
    coalitions, _ = some_game()
    values = torch.full((len(coalitions),), 2.5, dtype=torch.float64)
    weights = closeness(coalitions, "cosine", 0.3)
    found = fit_linear(coalitions, values, weights=weights, regression=regression, alpha=1.0)
    assert found.values.tolist() == [0.0] * 6
    assert (found.intercept, found.r2) == (pytest.approx(2.5), 0.0)


@pytest.mark.slow
def test_errors_are_those_of_the_spread_over_seeds() -> None:
    image, model = volume((8, 8)), predictor(unet(2), (8, 8), batch_size=16)
    target = frozen(model, image, everywhere(of="logit"))
    method = Lime(BLOCKS, "zero", samples=60, spread=True)
    runs = [replace(method, seed=seed).explain(model, image, target) for seed in range(10)]
    spread = torch.stack([run.data for run in runs]).var(dim=0).mean().sqrt()
    told = torch.stack([run.standard_error for run in runs if run.standard_error is not None])
    assert 0.6 < float(told.square().mean().sqrt() / spread) < 1.6


@pytest.mark.parametrize("keys", [{"samples": 1}, {"width": 0.0}, {"alpha": -1.0}], ids=str)
def test_bad_parameters_are_refused(keys: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(keys))}: .* must be (at least|above)"):
        Lime(**keys)
