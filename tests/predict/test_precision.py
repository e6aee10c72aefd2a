"""Half precision stays near full precision, and small gradients do not vanish in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tests.builders import SHAPES, predictor
from tests.networks import Smooth
from tests.oracles import relative_gap

PRECISIONS = {"bf16": 3e-2, "fp16": 4e-3}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_prediction_and_gradient_are_close_to_full_precision(ndim: int, precision: str) -> None:
    model = predictor(Smooth(ndim), (8,) * ndim)
    half = replace(model, precision=precision)
    x = torch.randn(2, 1, *SHAPES[ndim])
    slope = torch.randn(2, 2, *SHAPES[ndim])
    found, expected = half.logits(x), model.logits(x)
    assert found.dtype == torch.float32
    assert 0 < relative_gap(found, expected) < PRECISIONS[precision]
    pulled = half.pull_back(x, slope)
    assert pulled.gradient.dtype == torch.float32
    full = model.pull_back(x, slope)
    assert 0 < relative_gap(pulled.gradient, full.gradient) < 2 * PRECISIONS[precision]
    gap = (pulled.value - full.value).abs() / (expected.double() * slope).flatten(1).norm(dim=1)
    assert (gap < PRECISIONS[precision]).all()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_the_size_of_the_cotangent_does_not_matter(precision: str, scale: float) -> None:
    """fp16 holds nothing below 6e-8 or above 65504: the mean of many voxels would be lost."""
    model = replace(predictor(Smooth(2), (8, 8)), precision=precision)
    x = torch.randn(1, 1, 13, 11)
    slope = torch.randn(1, 2, 13, 11)
    found = model.pull_back(x, slope * scale)
    plain = model.pull_back(x, slope)
    assert relative_gap(found.gradient / scale, plain.gradient) < PRECISIONS[precision]
    torch.testing.assert_close(found.value / scale, plain.value, rtol=1e-3, atol=1e-3)


def test_the_gradient_of_a_mean_does_not_vanish_in_fp16() -> None:
    model = predictor(Smooth(2), (8, 8))
    x = torch.randn(1, 1, 13, 11)
    mean = torch.full((1, 2, 13, 11), 1e-9)
    assert torch.tensor(1e-9).half() == 0
    half = replace(model, precision="fp16").pull_back(x, mean)
    assert relative_gap(half.gradient, model.pull_back(x, mean).gradient) < 4e-3


def test_the_network_really_runs_in_half_precision() -> None:
    seen: list[torch.dtype] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            seen.append(y.dtype)
            return y

    model = replace(predictor(Spy(), (8, 8)), precision="fp16")
    model.logits(torch.randn(1, 1, 8, 8))
    assert seen == [torch.float16]
