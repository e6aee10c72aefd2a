"""On `f = w . x` every method has a closed form; w is found from MONAI's values of unit images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import MapError
from esegeta.explain import (
    Baseline,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Saliency,
    SmoothGrad,
    SmoothGradSquared,
    VarGrad,
)
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import linear, predictor, volume
from tests.oracles import frozen, linear_weights, relative_gap, with_coefficients

TOLERANCE = 1e-5
SHAPES = {2: (7, 5), 3: (5, 3, 4)}


@dataclass(frozen=True)
class Case:
    """A linear network over overlapping windows, a linear target, and their weights w."""

    model: Predictor
    volume: Volume
    target: FrozenTarget
    weights: Tensor


@pytest.fixture(params=[1, 2], ids=["1ch", "2ch"])
def case(request: pytest.FixtureRequest, ndim: int) -> Case:
    network = linear(ndim, in_channels=request.param, kernel=3)
    model = predictor(network, (4,) * ndim)
    image = volume(SHAPES[ndim], request.param)
    plain = frozen(model, image)
    target = with_coefficients(plain, torch.randn(2, *SHAPES[ndim]))
    return Case(model, image, target, linear_weights(model, target))


def test_the_weights_reproduce_the_target(case: Case) -> None:
    expected = (case.weights * case.volume.data).sum()
    value = case.target.value(case.model.logits(case.volume.batch))[0]
    torch.testing.assert_close(value.float(), expected, rtol=1e-4, atol=1e-4)


def test_saliency_is_the_weights(case: Case) -> None:
    map_ = Saliency().explain(case.model, case.volume, case.target).data
    assert relative_gap(map_, case.weights) < TOLERANCE
    map_ = Saliency(absolute=True).explain(case.model, case.volume, case.target).data
    assert relative_gap(map_, case.weights.abs()) < TOLERANCE


def test_input_x_gradient_is_the_terms_of_the_sum(case: Case) -> None:
    map_ = InputXGradient().explain(case.model, case.volume, case.target).data
    assert relative_gap(map_, case.weights * case.volume.data) < TOLERANCE


@pytest.mark.parametrize("baseline", ["zero", "mean", "minimum", "blur"])
@pytest.mark.parametrize("steps", [1, 5])
def test_integrated_gradients_are_the_terms_over_the_baseline(
    case: Case, steps: int, baseline: str
) -> None:
    method = IntegratedGradients(steps=steps, baseline=Baseline(baseline, sigma_mm=1.0))
    found = method.explain(case.model, case.volume, case.target)
    start = Baseline(baseline, sigma_mm=1.0).of(case.volume)
    assert relative_gap(found.data, case.weights * (case.volume.data - start)) < TOLERANCE
    assert found.facts.completeness_relative is not None
    assert found.facts.completeness_relative < 1e-4
    assert not found.warnings


@pytest.mark.parametrize("channels", ["each", "together"])
def test_occlusion_is_the_terms_summed_over_the_box(case: Case, channels: str) -> None:
    """Boxes of 2, next to each other, the last ones cut at the border."""
    method = Occlusion(box=2, baseline="mean", channels=channels)
    map_ = method.explain(case.model, case.volume, case.target).data
    terms = case.weights * (case.volume.data - Baseline("mean").of(case.volume))
    if channels == "together":
        terms = terms.sum(dim=0, keepdim=True)
    expected = torch.zeros_like(terms)
    for place in torch.cartesian_prod(*(torch.arange(0, n, 2) for n in terms.shape[1:])).tolist():
        box = (slice(None), *(slice(start, start + 2) for start in place))
        expected[box] = terms[box].flatten(1).sum(dim=1).reshape(-1, *(1,) * (terms.ndim - 1))
    assert relative_gap(map_, expected) < TOLERANCE


def test_noise_does_not_change_the_map_of_a_linear_network(case: Case) -> None:
    smooth = SmoothGrad(samples=3).explain(case.model, case.volume, case.target).data
    assert relative_gap(smooth, case.weights) < TOLERANCE
    squared = SmoothGradSquared(samples=3).explain(case.model, case.volume, case.target).data
    assert relative_gap(squared, case.weights.square()) < TOLERANCE
    with pytest.raises(MapError, match=r"vargrad.*zero everywhere.*noise"):
        VarGrad(samples=3).explain(case.model, case.volume, case.target)


def test_a_constant_network_gives_no_map(case: Case) -> None:
    network = linear(case.volume.ndim, in_channels=case.volume.num_channels)
    nn.init.zeros_(network.weight)
    model = replace(case.model, network=network)
    for method in (Saliency(), InputXGradient(), IntegratedGradients(steps=1), Occlusion()):
        with pytest.raises(MapError, match=rf"{method.name}.*zero everywhere"):
            method.explain(model, case.volume, case.target)


def test_a_map_that_is_not_finite_is_refused(case: Case) -> None:
    network = linear(case.volume.ndim, in_channels=case.volume.num_channels)
    network.weight.data.view(-1)[0] = torch.nan
    model = replace(case.model, network=network)
    for method in (Saliency(), InputXGradient(), IntegratedGradients(steps=1), Occlusion()):
        with pytest.raises(MapError, match=rf"{method.name}: \d+ voxels of the map are NaN"):
            method.explain(model, case.volume, case.target)


def test_an_image_equal_to_its_baseline_gives_no_map(case: Case) -> None:
    flat = case.volume.with_data(torch.ones_like(case.volume.data))
    for method in (IntegratedGradients(steps=2, baseline="mean"), Occlusion(baseline="mean")):
        with pytest.raises(MapError, match="equal to its baseline"):
            method.explain(case.model, flat, frozen(case.model, flat))
