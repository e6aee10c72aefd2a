"""Captum's own classes on the whole windowed prediction: equal to ours, and to its own calculus."""

from __future__ import annotations

import captum.attr
import pytest
import torch

import esegeta
from esegeta.errors import DataError, TargetError
from esegeta.explain import CaptumFunction, Objective
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, unet

pytestmark = pytest.mark.usefixtures("quiet_captum")

OURS = {
    "Saliency": (esegeta.Saliency(), {"abs": False}),
    "IntegratedGradients": (
        esegeta.IntegratedGradients(steps=3, baseline="zero"),
        {"n_steps": 3, "internal_batch_size": 1},
    ),
    "Occlusion": (esegeta.Occlusion(box=4, stride=2, channels="together", baseline="zero"), {}),
    "ShapleyValues": (esegeta.ExactShapley(features="channels", baseline="zero"), {}),
}


@pytest.fixture
def model(ndim: int) -> esegeta.SegmentationModel:
    network = unet(ndim, in_channels=2, out_channels=3)
    return esegeta.load_model(
        network, window=(8,) * ndim, labels={1: "one", 2: "two"}, device="cpu"
    )


@pytest.fixture
def image(ndim: int) -> Volume:
    data = torch.randn((2, *SHAPES[ndim]), generator=torch.Generator().manual_seed(1))
    return esegeta.volume_from_tensor(data)


@pytest.fixture(params=["logit", "probability"])
def target(
    request: pytest.FixtureRequest, model: esegeta.SegmentationModel, image: Volume
) -> FrozenTarget:
    return model.freeze(model.target("one", of=request.param), image)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    scale = float(wanted.abs().max())
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", OURS)
def test_captum_equals_ours(
    name: str, model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    assert len(model.windows(image.batch).boxes) > 1
    function = model.as_captum(target)
    ours, given = OURS[name]
    if name == "ShapleyValues":
        marks = torch.arange(2).reshape(1, 2, *(1,) * len(image.grid.shape))
        given = {"feature_mask": marks.expand(image.batch.shape).contiguous()}
    if name == "Occlusion":
        ndim = len(image.grid.shape)
        given = {"sliding_window_shapes": (2, *(4,) * ndim), "strides": (2, *(2,) * ndim)}
    method = getattr(captum.attr, name)(function)
    found = method.attribute(image.batch.requires_grad_(), **given)[0].detach().float()
    close(found, ours.explain(model, image, target).data.expand_as(found))


def test_slopes_are_those_of_autograd_through_the_prediction(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    batch = torch.stack([image.data, 0.5 * image.data]).requires_grad_()
    weights = torch.tensor([2.0, -3.0], dtype=torch.float64)
    values = model.as_captum(target)(batch)
    assert values.dtype == torch.float64 and values.shape == (2,)
    (found,) = torch.autograd.grad((values * weights).sum(), batch)
    other = batch.detach().clone().requires_grad_()
    whole = target.value(model(other))
    (wanted,) = torch.autograd.grad((whole * weights).sum(), other)
    torch.testing.assert_close(values.detach(), whole.detach(), rtol=1e-5, atol=1e-4)
    close(found, wanted)


def test_values_without_gradient_equal_the_target(
    model: esegeta.SegmentationModel, image: Volume, target: FrozenTarget
) -> None:
    objective = Objective.of(model, target, image)
    with torch.no_grad():
        found = CaptumFunction(objective)(image.batch)
    assert not found.requires_grad
    assert float(found) == pytest.approx(objective.value(), rel=1e-6)


@pytest.mark.parametrize("ndim", [3])
def test_invalid_arguments_are_refused(model: esegeta.SegmentationModel, image: Volume) -> None:
    with pytest.raises(TargetError, match=r"model\.as_captum\(target, volume\)"):
        model.as_captum(model.target("one"))
    function = model.as_captum(model.target("one"), image)
    assert "logit of one" in repr(function)
    with pytest.raises(DataError, match="the volume is"):
        function(image.batch[..., 1:])


def test_a_second_derivative_is_refused(model: esegeta.SegmentationModel, image: Volume) -> None:
    batch = image.batch.requires_grad_()
    value = model.as_captum(model.target("one"), image)(batch)
    (slope,) = torch.autograd.grad(value.sum(), batch, create_graph=True)
    with pytest.raises(RuntimeError, match=r"does not require grad|differentiate twice"):
        torch.autograd.grad(slope.sum(), batch)
