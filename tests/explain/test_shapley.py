"""Shapley values: additive targets, the definition by orders, and regression on coalitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain import (
    ExactShapley,
    FeatureAblation,
    Features,
    KernelShap,
    ShapleyValueSampling,
    solve_kernel_shap,
)
from esegeta.explain.perturbation.kernel_shap import draw_coalitions, kernel_shap_errors
from esegeta.explain.perturbation.shapley import all_coalitions, exact_shapley_values
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import linear, predictor, unet, volume
from tests.oracles import everywhere, frozen, linear_weights, relative_gap
from tests.pairwise import pairwise

SHAPES = {2: (11, 9), 3: (9, 8, 7)}
BLOCKS = Features("blocks", side_mm=5.0)
TOLERANCE = 2e-5

Value = Callable[[frozenset[int]], float]


def by_orders(count: int, value: Value) -> Tensor:
    """Return Shapley values by their definition: the mean gain over all orders of joining."""
    total = [0.0] * count
    for order in itertools.permutations(range(count)):
        joined: frozenset[int] = frozenset()
        for player in order:
            total[player] += value(joined | {player}) - value(joined)
            joined |= {player}
    return torch.tensor(total, dtype=torch.float64) / math.factorial(count)


def random_game(count: int, seed: int = 0) -> Tensor:
    """Return v of all coalitions, in the order of `all_coalitions`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2**count, generator=generator, dtype=torch.float64)


def values_of(found: object) -> Tensor:
    return torch.tensor(list(found.facts.more["values"].values()), dtype=torch.float64)  # type: ignore[attr-defined]


@pytest.fixture
def case(ndim: int) -> tuple[Predictor, Volume, FrozenTarget]:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    return model, image, frozen(model, image, everywhere(of="log_probability"))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_exact_is_the_definition_by_orders(count: int) -> None:
    values = random_game(count)
    expected = by_orders(count, lambda joined: float(values[sum(2**player for player in joined)]))
    torch.testing.assert_close(exact_shapley_values(values), expected, rtol=1e-12, atol=1e-12)


def test_coalitions_are_listed_in_binary_order() -> None:
    assert all_coalitions(2).tolist() == [[False, False], [True, False], [False, True], [True] * 2]


METHODS = {
    "feature_ablation": FeatureAblation(BLOCKS, "zero"),
    "exact_shapley": ExactShapley(BLOCKS, "zero"),
    "shapley_value_sampling": ShapleyValueSampling(BLOCKS, "zero", samples=2),
    "kernel_shap": KernelShap(BLOCKS, "zero", samples=16),
}


@pairwise(ndim=[2, 3], name=METHODS, channels=["together", "each"])
def test_the_value_of_a_feature_of_a_linear_network_is_its_sum(
    ndim: int, name: str, channels: str
) -> None:
    model = predictor(linear(ndim, in_channels=2, kernel=3), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    features = replace(BLOCKS, channels=channels, side_mm=5.0 if channels == "together" else 8.0)
    method = replace(METHODS[name], features=features)
    found = method.explain(model, image, target)
    partition = features.of(image)
    worth = linear_weights(model, target) * image.data
    parts = worth if channels == "each" else worth.sum(dim=0, keepdim=True)
    expected = torch.zeros_like(found.data)
    for region in range(partition.num_regions):
        where = partition.labels == region
        expected[:, where] = parts[:, where].sum(dim=1, keepdim=True)
    assert relative_gap(found.data, expected) < TOLERANCE


def test_exact_equals_the_definition_of_the_network(
    case: tuple[Predictor, Volume, FrozenTarget],
) -> None:
    model, image, target = case
    found = values_of(ExactShapley(baseline="zero").explain(model, image, target))

    def value(joined: frozenset[int]) -> float:
        kept = torch.zeros(2).index_fill(0, torch.tensor(sorted(joined), dtype=torch.long), 1.0)
        data = image.data * kept.reshape(2, *(1,) * image.ndim)
        return float(target.value(model(data[None])))

    torch.testing.assert_close(found, by_orders(2, value), rtol=1e-4, atol=1e-4)


def test_values_of_channels_fill_their_channel_of_the_map(
    case: tuple[Predictor, Volume, FrozenTarget],
) -> None:
    model, image, target = case
    found = ExactShapley(baseline="zero").explain(model, image, target)
    values = values_of(found).float()
    assert torch.equal(found.data, values[(...,) + (None,) * image.ndim].expand_as(found.data))
    assert values[0] != values[1]
    assert found.has_channels


@pytest.mark.parametrize("name", ["exact_shapley", "shapley_value_sampling", "kernel_shap"])
def test_values_add_up_to_the_change_from_baseline_to_image(
    case: tuple[Predictor, Volume, FrozenTarget], name: str
) -> None:
    model, image, target = case
    found = METHODS[name].explain(model, image, target)
    ends = [float(target.value(model(scale * image.batch))) for scale in (1, 0)]
    total = float(values_of(found).sum())
    assert total == pytest.approx(ends[0] - ends[1], rel=1e-5)
    assert total == pytest.approx(found.facts.more["values_add_up_to"], rel=1e-10)


def test_kernel_shap_of_all_coalitions_is_exact(
    case: tuple[Predictor, Volume, FrozenTarget],
) -> None:
    model, image, target = case
    expected = values_of(METHODS["exact_shapley"].explain(model, image, target))
    count = len(expected)
    method = KernelShap(BLOCKS, "zero", samples=2**count - 2, spread=True)
    found = method.explain(model, image, target)
    torch.testing.assert_close(values_of(found), expected, rtol=1e-8, atol=1e-8)
    assert found.facts.more["exact"]
    assert found.standard_error is not None
    assert not found.standard_error.any()
    fewer = replace(method, samples=2**count - 3).explain(model, image, target)
    assert not fewer.facts.more["exact"]


@pytest.mark.parametrize("samples", [30, 200, 1022])
def test_coalitions_of_the_regression(samples: int) -> None:
    drawn = draw_coalitions(10, samples, seed=0)
    kept = drawn.coalitions
    assert len(kept) <= samples
    assert len(kept) >= samples - 1
    sizes = kept.sum(dim=1)
    assert int(sizes.min()) >= 1
    assert int(sizes.max()) <= 9
    # Each size and its complement's weigh together as much as the kernel gives them, or, of those
    # drawn, on the mean; over all it is the kernel's whole weight.
    kernel = torch.tensor([9 / (size * (10 - size)) for size in range(1, 10)])
    assert float(drawn.weights.sum()) == pytest.approx(float(kernel.sum()), rel=1e-6)
    whole = len(kept) - 2 * drawn.num_pairs
    assert len({tuple(row) for row in kept[:whole].tolist()}) == whole
    for size in set(sizes[:whole].tolist()):
        assert int((sizes[:whole] == size).sum()) == math.comb(10, size)
        weight = float(drawn.weights[:whole][sizes[:whole] == size].sum())
        assert weight == pytest.approx(float(kernel[size - 1]), rel=1e-6)
    pairs = kept[whole:]
    assert torch.equal(pairs[::2], ~pairs[1::2])
    assert (drawn.num_pairs == 0) == (samples == 1022)


@pytest.mark.slow
def test_errors_of_estimates_match_their_standard_error() -> None:
    """Over many seeds the errors are those of the spread: one standard error, on the mean."""
    count = 9
    values = random_game(count)
    index = 2 ** torch.arange(count)
    expected = exact_shapley_values(values)
    ratios = []
    for seed in range(150):
        drawn = draw_coalitions(count, 220, seed=seed)
        gains = values[(drawn.coalitions * index).sum(dim=1)]
        found = solve_kernel_shap(
            drawn.coalitions, gains, none=values[0], everyone=values[-1], weights=drawn.weights
        )
        errors = kernel_shap_errors(drawn, gains - values[0], found)
        ratios.append((found - expected) / errors)
    spread = torch.stack(ratios)
    assert 0.8 < float(spread.square().mean().sqrt()) < 1.3
    assert (spread.mean(dim=0).abs() < 0.4).all()


@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.slow
def test_errors_of_sampling_match_its_standard_error(antithetic: bool) -> None:
    """Over many seeds the errors are those of the spread: one standard error, on the mean."""
    model, image = predictor(unet(2), (8, 8), batch_size=16), volume((8, 8))
    target = frozen(model, image)
    features = Features("blocks", side_mm=3.0)
    expected = ExactShapley(features, "zero").explain(model, image, target).data
    method = ShapleyValueSampling(features, "zero", samples=8, antithetic=antithetic, spread=True)
    gaps, errors = [], []
    for seed in range(30):
        found = replace(method, seed=seed).explain(model, image, target)
        assert found.standard_error is not None
        gaps.append((found.data - expected).square().mean())
        errors.append(found.standard_error.square().mean())
    ratio = torch.stack(gaps).mean() / torch.stack(errors).mean()
    assert 0.6 < float(ratio.sqrt()) < 1.5


@pytest.mark.parametrize(("samples", "warned"), [(16, 1), (62, 1), (64, 0)])
def test_errors_of_few_orders_carry_a_warning(samples: int, warned: int) -> None:
    model, image = predictor(unet(2), (8, 8), batch_size=16), volume((8, 8))
    method = ShapleyValueSampling(Features("blocks", side_mm=4.0), "zero", samples=samples)
    target = frozen(model, image)
    assert method.explain(model, image, target).warnings == ()
    found = replace(method, spread=True).explain(model, image, target)
    assert len(found.warnings) == warned
    assert all("64 or more" in text for text in found.warnings)


@pytest.mark.slow
def test_more_coalitions_come_closer() -> None:
    model, image = predictor(unet(2), (8, 8), batch_size=16), volume((12, 8))
    target = frozen(model, image)
    features = Features("blocks", side_mm=2.7)
    oracle = KernelShap(features, "zero", samples=4094).explain(model, image, target).data
    gaps = []
    for samples in (60, 600):
        runs = [
            KernelShap(features, "zero", samples=samples, seed=seed)
            .explain(model, image, target)
            .data
            for seed in range(3)
        ]
        gaps.append(sum(relative_gap(run, oracle) for run in runs))
    assert gaps[1] < 0.5 * gaps[0]


def test_too_many_features_are_refused_with_what_to_do() -> None:
    image, model = volume((16, 16)), predictor(unet(2), (8, 8))
    with pytest.raises(ConfigError, match=r"16 features .*2\^16.*12 features.*kernel_shap"):
        ExactShapley(Features("blocks", side_mm=4.0)).explain(model, image, frozen(model, image))


def test_too_few_coalitions_are_refused_with_what_to_do() -> None:
    image, model = volume((16, 16)), predictor(unet(2), (8, 8))
    method = KernelShap(Features("blocks", side_mm=4.0), samples=8)
    with pytest.raises(ConfigError, match="8 coalitions cannot separate 16 features; raise"):
        method.explain(model, image, frozen(model, image))


IMPOSSIBLE = [
    (KernelShap, {"samples": 1}, "kernel_shap: samples: 1 must be at least 2"),
    (ShapleyValueSampling, {"samples": 0}, "sampling: samples: 0 must be at least 1"),
    (
        ShapleyValueSampling,
        {"samples": 3},
        "samples: 3 is odd, but antithetic orders come in pairs",
    ),
    (ShapleyValueSampling, {"samples": 2, "spread": True}, "samples: 2 are too few for a standard"),
    (
        ShapleyValueSampling,
        {"samples": 1, "antithetic": False, "spread": True},
        "samples: 1 are too few for a standard error",
    ),
]


@pytest.mark.parametrize(("method", "keys", "message"), IMPOSSIBLE, ids=str)
def test_too_few_samples_are_refused(method: type, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method(**keys)


def test_a_single_feature_gets_the_whole_change() -> None:
    image, model = volume((8, 8)), predictor(unet(2), (8, 8))
    target = frozen(model, image)
    for method in (KernelShap, ExactShapley, ShapleyValueSampling):
        found = method(features="channels", baseline="zero").explain(model, image, target)
        ends = [float(target.value(model(scale * image.batch))) for scale in (1, 0)]
        assert float(found.data[0, 3, 3]) == pytest.approx(ends[0] - ends[1], rel=1e-5)
