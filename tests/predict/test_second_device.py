"""Prediction and its gradient on a device that is strict as CUDA: bit for bit the CPU's."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.builders import SHAPES
from tests.contracts.explainers import ROWS
from tests.contracts.rows import make_case, moved


@pytest.mark.parametrize("buffers", ["cpu", "testdevice"])
def test_prediction_and_gradient(ndim: int, buffers: str, second: torch.device) -> None:
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
def test_half_precision(ndim: int, precision: str, second: torch.device) -> None:
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
