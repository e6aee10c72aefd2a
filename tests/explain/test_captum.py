"""Captum's methods, given the predictor as a function, are ours."""

from __future__ import annotations

from collections.abc import Callable

import captum.attr
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.explain import (
    Baseline,
    GradCam,
    HiResCam,
    InputXGradient,
    IntegratedGradients,
    Occlusion,
    Saliency,
)
from esegeta.model import find_layer, tap
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import predictor, unet, volume
from tests.oracles import everywhere, frozen, relative_gap

TOLERANCE = 2e-5
SHAPES = {2: (13, 11), 3: (9, 6, 11)}

Case = tuple[Predictor, Volume, FrozenTarget]

pytestmark = pytest.mark.usefixtures("quiet_captum")


@pytest.fixture(params=["logit", "log_probability"])
def case(request: pytest.FixtureRequest, ndim: int) -> Case:
    model = predictor(unet(ndim, in_channels=2), (8,) * ndim, batch_size=3)
    image = volume(SHAPES[ndim], 2)
    return model, image, frozen(model, image, everywhere(of=request.param))


def function(model: Predictor, target: FrozenTarget) -> Callable[[Tensor], Tensor]:
    return lambda x: target.value(model(x))


def test_saliency(case: Case) -> None:
    model, image, target = case
    oracle = captum.attr.Saliency(function(model, target))
    x = image.batch.clone().requires_grad_(True)
    for absolute in (False, True):
        found = Saliency(absolute=absolute).explain(model, image, target).data
        assert relative_gap(found, oracle.attribute(x, abs=absolute)[0]) < TOLERANCE


def test_input_x_gradient(case: Case) -> None:
    model, image, target = case
    oracle = captum.attr.InputXGradient(function(model, target))
    x = image.batch.clone().requires_grad_(True)
    found = InputXGradient().explain(model, image, target).data
    assert relative_gap(found, oracle.attribute(x)[0]) < TOLERANCE


@pytest.mark.parametrize("steps", [1, 6])
def test_integrated_gradients(case: Case, steps: int) -> None:
    model, image, target = case
    oracle = captum.attr.IntegratedGradients(function(model, target))
    start = Baseline("blur", sigma_mm=2.0).of(image)[None]
    expected = oracle.attribute(image.batch, start, n_steps=steps, method="gausslegendre")
    method = IntegratedGradients(steps=steps, baseline=Baseline("blur", sigma_mm=2.0))
    assert relative_gap(method.explain(model, image, target).data, expected[0]) < TOLERANCE


@pytest.mark.parametrize(
    ("box", "stride", "channels"), [(4, 4, "together"), (5, 3, "each"), (5, 3, "together")]
)
def test_occlusion(case: Case, box: int, stride: int, channels: str) -> None:
    """Boxes side by side or overlapping, the last ones clipped at the border."""
    model, image, target = case
    oracle = captum.attr.Occlusion(function(model, target))
    depth = 1 if channels == "each" else 2
    expected = oracle.attribute(
        image.batch,
        sliding_window_shapes=(depth, *(box,) * image.ndim),
        strides=(1, *(stride,) * image.ndim),
        baselines=Baseline("mean").of(image)[None],
    )[0]
    method = Occlusion(box=box, stride=stride, baseline="mean", channels=channels)
    found = method.explain(model, image, target).data
    assert relative_gap(found, expected[:1] if channels == "together" else expected) < TOLERANCE


@pytest.mark.parametrize("layer", ["model.0", "model.2"])
def test_layer_grad_cam_where_one_window_is_the_volume(ndim: int, layer: str) -> None:
    """Captum's ReLU comes before its resampling; ours after. Without it both say the same."""
    shape = (8, 10, 6)[:ndim]
    network = unet(ndim)
    model = predictor(network, shape)
    image = volume(shape)
    target = frozen(model, image, everywhere(of="log_probability"))
    module = find_layer(network, layer)
    oracle = captum.attr.LayerGradCam(lambda x: target.value(network(x)), module)
    coarse = oracle.attribute(image.batch)
    mode = "bilinear" if ndim == 2 else "trilinear"
    expected = F.interpolate(coarse.detach(), size=shape, mode=mode).relu()[0]
    found = GradCam(layer=layer).explain(model, image, target).data
    assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("layer", ["model.0", "model.2"])
def test_layer_gradient_x_activation_is_hires_cam_where_one_window_is_the_volume(
    ndim: int, layer: str
) -> None:
    shape = (8, 10, 6)[:ndim]
    network = unet(ndim)
    model = predictor(network, shape)
    image = volume(shape)
    target = frozen(model, image, everywhere(of="log_probability"))
    module = find_layer(network, layer)
    forward = lambda x: target.value(network(x))  # noqa: E731
    oracle = captum.attr.LayerGradientXActivation(forward, module)
    coarse = oracle.attribute(image.batch).detach().sum(dim=1, keepdim=True)
    mode = "bilinear" if ndim == 2 else "trilinear"
    expected = F.interpolate(coarse, size=shape, mode=mode)[0]
    found = HiResCam(layer=layer).explain(model, image, target).data
    assert relative_gap(found, expected) < TOLERANCE
    with tap(network, layer) as seen, torch.no_grad():
        network(image.batch)
    assert seen[layer].shape[2:] == coarse.shape[2:]
