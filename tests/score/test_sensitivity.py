"""Sensitivity: captum's figure and a slow loop's, on the same draws, which two scores share."""

from __future__ import annotations

import gc
import warnings
import weakref
from dataclasses import replace

import captum.metrics
import pytest
import torch
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import (
    Attribution,
    Explainer,
    GradCam,
    InputXGradient,
    IntegratedGradients,
    Saliency,
)
from esegeta.predict import Predictor
from esegeta.score import ScoreCache, ScoreContext, SensitivityAvg, SensitivityMax
from esegeta.targets import VoxelTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, linear, predictor, unet, volume
from tests.contracts.explainers import ROWS
from tests.each import for_each
from tests.networks import Counting
from tests.oracles import everywhere, frozen, gradient_of, monai_prediction

pytestmark = pytest.mark.usefixtures("whole_windows")


def score_of(
    attribution: Attribution, model: Predictor, explainer: Explainer, **options: float
) -> float:
    context = ScoreContext(model, explainer)
    return SensitivityMax(**options).score(attribution, context)["sensitivity_max"]


def average_of(
    attribution: Attribution, model: Predictor, explainer: Explainer, **options: float
) -> float:
    context = ScoreContext(model, explainer)
    return SensitivityAvg(**options).score(attribution, context)["sensitivity_avg"]


def moved_images(image: Volume, samples: int, radius: float, seed: int) -> list[Tensor]:
    """Return the neighbours of the image that the score says it visits."""
    values = image.data.flatten().double()
    bound = radius * float((values - values.mean()).square().mean().sqrt())
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.rand(image.data.shape, generator=generator) for _ in range(samples)]
    return [image.data + bound * (2 * draw - 1) for draw in draws]


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_equals_captum_on_the_same_draws(ndim: int, num_channels: int, of: str) -> None:
    model = predictor(unet(ndim, "relu_instance", in_channels=num_channels), (8,) * ndim)
    image = volume(SHAPES[ndim], num_channels)
    target = frozen(model, image, everywhere(of=of))
    attribution = Saliency().explain(model, image, target)
    found = score_of(attribution, model, Saliency(), samples=4, radius=0.1, seed=6)
    moved = torch.stack(moved_images(image, 4, 0.1, seed=6))

    def explain(inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (gradient_of(lambda x: target.value(monai_prediction(model, x)), inputs[0]),)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="captum")
        expected = captum.metrics.sensitivity_max(
            explain, image.batch, lambda inputs, radius: (moved,), n_perturb_samples=4
        )
    assert found == pytest.approx(float(expected), rel=1e-3)
    assert found > 1e-3


@pytest.mark.parametrize(
    "explainer",
    [InputXGradient(), IntegratedGradients(steps=2, baseline="mean"), GradCam()],
    ids=lambda explainer: explainer.name,
)
def test_equals_a_slow_loop_for_any_method(ndim: int, explainer: Explainer) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image, everywhere(of="margin"))
    attribution = explainer.explain(model, image, target)
    found = score_of(attribution, model, explainer, samples=3, radius=0.1, seed=1)
    changes = [
        explainer.explain(model, image.with_data(data), replaced(target, model, data)).data
        - attribution.data
        for data in moved_images(image, 3, 0.1, seed=1)
    ]
    norms = [float(change.double().norm()) for change in changes]
    norm = float(attribution.data.double().norm())
    assert found == pytest.approx(max(norms) / norm, rel=1e-3)
    assert found > min(norms) / norm
    average = average_of(attribution, model, explainer, samples=3, radius=0.1, seed=1)
    assert average == pytest.approx(sum(norms) / 3 / norm, rel=1e-3)


def replaced(target: object, model: Predictor, data: Tensor) -> object:
    """Return the frozen target with the prediction of another image beside it."""
    scene = target.scene
    return replace(target, scene=replace(scene, known_logits=model.logits(data[None])))


def test_the_gradient_of_a_linear_network_has_no_sensitivity(ndim: int) -> None:
    model = predictor(linear(ndim, kernel=3), (4,) * ndim)
    image = volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    assert score_of(attribution, model, Saliency()) < 1e-6


def test_the_sensitivity_of_input_x_gradient_in_closed_form(ndim: int) -> None:
    """phi = w * x with w constant: the ratio is |d| / |x| of the largest draw."""
    model = predictor(linear(ndim), (4,) * ndim)
    image = volume(SHAPES[ndim])
    attribution = InputXGradient().explain(model, image, frozen(model, image))
    found = score_of(attribution, model, InputXGradient(), samples=5, radius=0.3, seed=2)
    shifts = [data - image.data for data in moved_images(image, 5, 0.3, seed=2)]
    expected = max(float(shift.norm()) for shift in shifts) / float(image.data.norm())
    assert found == pytest.approx(expected, rel=1e-4)
    average = average_of(attribution, model, InputXGradient(), samples=5, radius=0.3, seed=2)
    ratios = [float(shift.norm()) / float(image.data.norm()) for shift in shifts]
    assert average == pytest.approx(sum(ratios) / 5, rel=1e-4)


def test_the_mask_stays_frozen(ndim: int) -> None:
    """On a linear network only a mask that moves could move the map."""
    model = predictor(linear(ndim), (4,) * ndim)
    image = volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image, VoxelTarget("one")))
    assert 0 < attribution.target.mask.sum() < attribution.target.mask.numel()
    assert score_of(attribution, model, Saliency(), radius=2.0) < 1e-6


def test_a_larger_radius_gives_a_larger_sensitivity(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    attribution = Saliency().explain(model, image, frozen(model, image))
    near, far = (
        score_of(attribution, model, Saliency(), radius=radius, samples=3) for radius in (0.01, 1.0)
    )
    assert near < far


def counted(ndim: int) -> tuple[Counting, Predictor, Attribution]:
    """Return a network that counts its windows, and a map of all voxels."""
    network = Counting(unet(ndim))
    model = predictor(network, (8,) * ndim)
    image = volume(SHAPES[ndim])
    return network, model, Saliency().explain(model, image, frozen(model, image))


def test_ten_samples_cost_ten_explanations_for_both_figures(ndim: int) -> None:
    network, model, attribution = counted(ndim)
    network.windows = 0
    Saliency().explain(model, attribution.volume, attribution.target)
    one = network.windows
    network.windows = 0
    context = ScoreContext(model, Saliency())
    largest = SensitivityMax(samples=10).score(attribution, context)["sensitivity_max"]
    assert 0 < network.windows <= 10 * one
    done = network.windows
    average = SensitivityAvg(samples=10).score(attribution, context)["sensitivity_avg"]
    assert network.windows == done
    assert 0 < average < largest
    assert average == average_of(attribution, model, Saliency(), samples=10)


def test_explanations_are_shared_only_for_equal_draws_of_one_map() -> None:
    network, model, attribution = counted(2)
    cache = ScoreCache()

    def windows_for(score: SensitivityAvg, map_: Attribution, explainer: Explainer) -> int:
        before = network.windows
        score.score(map_, ScoreContext(model, explainer, cache))
        return network.windows - before

    plain = SensitivityAvg(samples=2)
    assert windows_for(plain, attribution, Saliency()) > 0
    assert windows_for(plain, attribution, Saliency()) == 0
    for other in (replace(plain, seed=1), replace(plain, samples=3), replace(plain, radius=0.1)):
        assert windows_for(other, attribution, Saliency()) > 0
    assert windows_for(plain, attribution, InputXGradient()) > 0
    assert windows_for(plain, replace(attribution), Saliency()) > 0


@pytest.mark.slow
def test_scoring_keeps_no_reference_to_the_map() -> None:
    _, model, attribution = counted(2)
    cache = ScoreCache()
    SensitivityAvg(samples=1).score(attribution, ScoreContext(model, Saliency(), cache))
    kept = weakref.ref(attribution)
    del attribution
    gc.collect()
    assert kept() is None


@for_each(ROWS)
def test_every_method_is_hashable_by_value(method: str) -> None:
    """What was worked out for one is found again by the method itself."""
    assert hash(ROWS[method]) == hash(replace(ROWS[method]))


def test_a_map_of_zeros_is_refused() -> None:
    model = predictor(unet(2), (8, 8))
    image = volume(SHAPES[2])
    attribution = Saliency().explain(model, image, frozen(model, image))
    empty = replace(attribution, data=0 * attribution.data)
    with pytest.raises(MapError, match="sensitivity_max: the map is zero"):
        score_of(empty, model, Saliency())
    with pytest.raises(MapError, match="sensitivity_avg: the map is zero"):
        average_of(empty, model, Saliency())


@pytest.mark.parametrize("bad", [{"samples": 0}, {"radius": 0.0}])
def test_bad_parameters_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="sensitivity_max"):
        SensitivityMax(**bad)
    with pytest.raises(ConfigError, match="sensitivity_avg"):
        SensitivityAvg(**bad)
