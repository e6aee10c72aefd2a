"""eMPRT: numpy's histograms, a closed form, and what is undefined."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.errors import ConfigError, MapError
from esegeta.explain import EdgeMap, Explainer, InputXGradient, PatternNet, Saliency, fit_patterns
from esegeta.score import EfficientMprt, Judgement, ScoreContext
from esegeta.score.sanity.parameter_randomization import histogram_entropy
from esegeta.score.sanity.weights import RandomWeights
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.networks import Counting
from tests.oracles import frozen

pytestmark = pytest.mark.usefixtures("whole_windows")


def judged(model: object, explainer: Explainer, **options: int) -> Judgement:
    ndim = len(model.plan.size)
    image = volume(SHAPES[ndim], model.network.in_channels)
    attribution = explainer.explain(model, image, frozen(model, image))
    return EfficientMprt(**options).judge(attribution, ScoreContext(model, explainer))


def entropy_of(values: np.ndarray, bins: int) -> float:
    counts, _ = np.histogram(np.abs(values), bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return -float((shares * np.log(shares)).sum())


@pytest.mark.parametrize("bins", [10, 100])
def test_equals_a_slow_rewrite(ndim: int, bins: int) -> None:
    network = unet(ndim, in_channels=2)
    network.in_channels = 2
    model, image = predictor(network, (8,) * ndim), volume(SHAPES[ndim], 2)
    target = frozen(model, image)
    weights = RandomWeights(model, target, image, 4)
    random = Saliency().explain(weights.predictor_with(weights.layers), image, target).data
    own = Saliency().explain(model, image, target).data
    before, after = (entropy_of(map_.double().numpy(), bins) for map_ in (own, random))
    found = judged(model, Saliency(), bins=bins, seed=4)
    assert found.values["efficient_mprt"] == pytest.approx((after - before) / before, abs=1e-3)
    assert abs(after - before) > 0.01 * before


def test_entropy_is_that_of_the_histogram() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(10_000, generator=generator)
    assert histogram_entropy(values, 50) == pytest.approx(entropy_of(values.numpy(), 50), abs=1e-3)
    # As many values in each bin as in any other.
    assert histogram_entropy(torch.arange(1.0, 1001), 10) == pytest.approx(math.log(10), abs=1e-5)
    assert histogram_entropy(torch.tensor([2.0, -2.0]), 10) == 0


def test_a_map_that_ignores_the_network_scores_zero(ndim: int) -> None:
    network = unet(ndim)
    network.in_channels = 1
    assert judged(predictor(network, (8,) * ndim), EdgeMap()).values == {"efficient_mprt": 0}


def test_a_linear_network_of_one_weight_scores_zero(ndim: int) -> None:
    """Another weight scales the map, and its histogram with it."""
    found = judged(predictor(linear(ndim), (4,) * ndim), InputXGradient())
    assert found.values["efficient_mprt"] == pytest.approx(0, abs=1e-3)


def test_costs_one_explanation_beside_finding_the_layers() -> None:
    network = Counting(unet(2, "relu_instance"))
    model, image = predictor(network, (8, 8)), volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    windows_run: list[int] = []
    context = ScoreContext(replace(model, on_windows=windows_run.append), Saliency())
    EfficientMprt().judge(attribution, context)
    assert sum(windows_run) == attribution.facts.windows_run + 2 * model.batch_size


def test_patterns_are_learned_anew(ndim: int) -> None:
    network = unet(ndim)
    network.in_channels = 1
    model = predictor(network, (8,) * ndim)
    fitted = PatternNet(fitted=fit_patterns(model, [volume(SHAPES[ndim])]))
    assert judged(model, fitted).values == judged(model, PatternNet()).values


def test_a_map_of_one_magnitude_is_undefined(ndim: int) -> None:
    model, image = predictor(linear(ndim), (4,) * ndim), volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    flat = replace(attribution, data=torch.ones_like(attribution.data))
    found = EfficientMprt().judge(flat, ScoreContext(model, Saliency()))
    assert math.isnan(found.values["efficient_mprt"])
    assert "a single magnitude" in found.reasons["efficient_mprt"]


def test_a_random_network_without_a_map_is_undefined(ndim: int) -> None:
    class Dead(torch.nn.Module):
        """Shuffled, its weights are all ahead of a dead activation."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor([[1.0, -1e9]]))
            self.alive = bool(self.weight[0, 0] > 0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            passes = (self.weight[0, 0] > 0).float()
            return torch.cat([x, x * passes * self.weight[0, 0]], dim=1)

    model, image = predictor(Dead().eval(), (4,) * ndim), volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    reasons = set()
    for seed in range(4):
        found = EfficientMprt(seed=seed).judge(attribution, ScoreContext(model, Saliency()))
        assert math.isnan(found.values["efficient_mprt"])
        reasons.add(found.reasons["efficient_mprt"])
    assert "the random network has no map: saliency: the map is zero everywhere" in reasons


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="bins: 1 must be at least 2"):
        EfficientMprt(bins=1)
    model, image = predictor(unet(2), (8, 8)), volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    with pytest.raises(MapError, match="efficient_mprt: the map is zero everywhere"):
        EfficientMprt().judge(
            replace(attribution, data=0 * attribution.data), ScoreContext(model, Saliency())
        )
