"""Prediction and its gradient on a device that is strict as CUDA: bit for bit the CPU's."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from esegeta.predict import list_passes
from tests.builders import SHAPES, predictor, volume
from tests.contracts.explainers import ROWS
from tests.contracts.rows import make_case, moved
from tests.networks import Smooth, Valid
from tests.oracles import frozen
from tests.predict.averaged import averaging
from tests.predict.valid import covering


@pytest.mark.parametrize("buffers", ["cpu", "testdevice"])
def test_prediction_and_gradient_equal_those_of_the_cpu(
    ndim: int, buffers: str, second: torch.device
) -> None:
    """The volume's buffers stay where the input is; windows go to the network."""
    case = make_case(ndim, 2)
    model, there = case.model, moved(case, second).model
    x, slope = torch.randn(2, 2, *SHAPES[ndim]), torch.randn(2, 2, *SHAPES[ndim])
    found = there.logits(x.to(buffers))
    assert found.device.type == buffers
    assert torch.equal(found.cpu(), model.logits(x))
    pulled = there.pull_back(x.to(buffers), slope.to(buffers))
    expected = model.pull_back(x, slope)
    assert pulled.gradient.device.type == buffers
    assert torch.equal(pulled.gradient.cpu(), expected.gradient)
    assert torch.equal(pulled.value.cpu(), expected.value)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_equals_the_cpu(ndim: int, precision: str, second: torch.device) -> None:
    case = make_case(ndim, 1)
    there = moved(case, second)
    half = replace(case.model, precision=precision)
    slope = torch.full((1, 2, *SHAPES[ndim]), 1e-9)
    expected = half.pull_back(case.volume.batch, slope)
    half = replace(there.model, precision=precision)
    found = half.pull_back(there.volume.batch, slope.to(second))
    assert torch.equal(found.gradient.cpu(), expected.gradient)
    full = case.model.pull_back(case.volume.batch, slope).gradient
    assert not torch.equal(found.gradient.cpu(), full)


@pytest.mark.parametrize("method", ["saliency", "occlusion", "grad_cam", "hires_cam", "lrp"])
def test_buffers_may_stay_on_the_cpu(ndim: int, method: str, second: torch.device) -> None:
    case = make_case(ndim, 1)
    found = ROWS[method].explain(moved(case, second).model, case.volume, case.target)
    expected = ROWS[method].explain(case.model, case.volume, case.target)
    assert found.data.device.type == "cpu"
    assert torch.equal(found.data, expected.data)


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("buffers", ["cpu", "testdevice"])
def test_mirrored_ensembles_equal_the_cpu(
    ndim: int, buffers: str, average: str, second: torch.device
) -> None:
    networks = [Smooth(ndim), Smooth(ndim)]
    for parameter in networks[1].parameters():
        parameter.data.mul_(1.5)
    there = [copy.deepcopy(network).to(second) for network in networks]
    plain = predictor(networks[0], (8,) * ndim)
    model = averaging(networks, plain, [0], average)
    moved_model = averaging(there, plain, [0], average)
    x, slope = torch.randn(2, 1, *SHAPES[ndim]), torch.randn(2, 2, *SHAPES[ndim])
    found = moved_model.logits(x.to(buffers))
    assert found.device.type == buffers
    assert torch.equal(found.cpu(), model.logits(x))
    pulled = moved_model.pull_back(x.to(buffers), slope.to(buffers))
    expected = model.pull_back(x, slope)
    assert pulled.gradient.device.type == buffers
    assert torch.equal(pulled.gradient.cpu(), expected.gradient)
    assert torch.equal(pulled.value.cpu(), expected.value)


@pytest.mark.parametrize("padding", ["zeros", "edge", "reflect"])
@pytest.mark.parametrize("buffers", ["cpu", "testdevice"])
@pytest.mark.slow
def test_valid_convolutions_equal_the_cpu(
    ndim: int, buffers: str, padding: str, second: torch.device
) -> None:
    model = covering(predictor(Valid(ndim), (12,) * ndim, overlap=0.25))
    model = replace(model, plan=replace(model.plan, padding=padding))
    there = replace(model, network=copy.deepcopy(model.network).to(second))
    x, slope = torch.randn(1, 1, *SHAPES[ndim]), torch.randn(1, 2, *SHAPES[ndim])
    found = there.logits(x.to(buffers))
    assert torch.equal(found.cpu(), model.logits(x))
    pulled = there.pull_back(x.to(buffers), slope.to(buffers))
    assert pulled.gradient.device.type == buffers
    assert torch.equal(pulled.gradient.cpu(), model.pull_back(x, slope).gradient)


@pytest.mark.parametrize("method", ["occlusion", "rise", "hires_cam", "grad_cam", "lrp"])
@pytest.mark.slow
def test_methods_over_mirrored_valid_convolutions_equal_the_cpu(
    ndim: int, method: str, second: torch.device
) -> None:
    model = covering(predictor(Valid(ndim), (12,) * ndim, overlap=0.25))
    plan = replace(model.plan, padding="edge", passes=list_passes([0]))
    model = replace(model, plan=plan)
    there = replace(model, network=copy.deepcopy(model.network).to(second))
    image = volume(SHAPES[ndim])
    explainer = ROWS[method]
    if explainer.traits.needs_layer:
        explainer = replace(explainer, layer="merge")
    expected = explainer.explain(model, image, frozen(model, image))
    moved_image = image.to(second)
    found = explainer.explain(there, moved_image, frozen(there, moved_image))
    assert torch.equal(found.data.cpu(), expected.data)
