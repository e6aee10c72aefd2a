"""On a CUDA device everything is as on the CPU: `pytest -m gpu`."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from esegeta.explain import EXPLAINERS
from esegeta.explain.gradient.noise import NoisyCopies
from esegeta.predict import Predictor
from esegeta.targets import Predicted, Scene, UnitTarget
from tests.builders import SHAPES
from tests.contracts.explainers import ROWS
from tests.contracts.rows import make_case, moved
from tests.oracles import disguised, relative_gap

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TOLERANCE = 1e-4


def on_cuda(model: Predictor) -> Predictor:
    return replace(model, network=copy.deepcopy(model.network).to("cuda"))


@pytest.mark.parametrize("buffers", ["cpu", "cuda"])
def test_prediction_and_gradient_equal_those_of_the_cpu(ndim: int, buffers: str) -> None:
    """The volume's buffers stay where the input is; windows go to the network."""
    model = make_case(ndim, 2).model
    x = torch.randn(2, 2, *SHAPES[ndim])
    slope = torch.randn(2, 2, *SHAPES[ndim])
    there = on_cuda(model)
    found = there.logits(x.to(buffers))
    assert found.device.type == buffers
    assert relative_gap(found.cpu(), model.logits(x)) < TOLERANCE
    pulled = there.pull_back(x.to(buffers), slope.to(buffers))
    expected = model.pull_back(x, slope)
    assert pulled.gradient.device.type == buffers
    assert relative_gap(pulled.gradient.cpu(), expected.gradient) < TOLERANCE
    torch.testing.assert_close(pulled.value.cpu(), expected.value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize("method", EXPLAINERS)
def test_every_explainer_equals_the_cpu(ndim: int, method: str, linear: bool) -> None:
    case = make_case(ndim, 2)
    there = moved(case, "cuda")
    targets = [case.target, there.target]
    if not linear:
        targets = [disguised(target) for target in targets]
    explainer = ROWS[method]
    found = explainer.explain(there.model, there.volume, targets[1])
    assert found.data.device.type == "cuda"
    assert found.facts.peak_memory_mb > 0
    if explainer.traits.stochastic:  # a generator draws other numbers on each device
        again = explainer.explain(there.model, there.volume, targets[1])
        assert relative_gap(again.data, found.data) < TOLERANCE
        if not isinstance(explainer, NoisyCopies) or method == "vargrad":
            return
        explainer = replace(explainer, samples=2, noise=1e-6)
        found = explainer.explain(there.model, there.volume, targets[1])
    elif explainer.traits.stochastic:
        again = explainer.explain(there.model, there.volume, targets[1])
        assert relative_gap(again.data, found.data) < TOLERANCE
        return
    expected = explainer.explain(case.model, case.volume, targets[0])
    assert relative_gap(found.data.cpu(), expected.data) < 10 * TOLERANCE


@pytest.mark.parametrize("method", ["saliency", "gradient_shap", "occlusion", "hires_cam"])
def test_a_unit_inside_the_network_equals_the_cpu(ndim: int, method: str) -> None:
    case = make_case(ndim, 2)
    there = moved(case, "cuda")
    explainer = ROWS[method]
    if explainer.traits.needs_layer:
        explainer = replace(explainer, layer="model.0")
    unit = UnitTarget("model.1.submodule", 0, Predicted(), label="one")
    target = unit.freeze(Scene(there.model, there.volume))
    found = explainer.explain(there.model, there.volume, target)
    assert found.data.device.type == "cuda"
    if not explainer.traits.stochastic:
        here = unit.freeze(Scene(case.model, case.volume))
        expected = explainer.explain(case.model, case.volume, here)
        assert relative_gap(found.data.cpu(), expected.data) < 10 * TOLERANCE


@pytest.mark.parametrize("method", ["saliency", "occlusion", "grad_cam", "hires_cam"])
def test_buffers_may_stay_on_the_cpu(ndim: int, method: str) -> None:
    case = make_case(ndim, 1)
    model = on_cuda(case.model)
    found = ROWS[method].explain(model, case.volume, case.target)
    assert found.data.device.type == "cpu"
    expected = ROWS[method].explain(case.model, case.volume, case.target)
    assert relative_gap(found.data, expected.data) < 10 * TOLERANCE


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_gradients_in_half_precision_are_close_to_full_precision(ndim: int, precision: str) -> None:
    case = make_case(ndim, 1)
    there = moved(case, "cuda")
    half = replace(there.model, precision=precision)
    slope = torch.full((1, 2, *SHAPES[ndim]), 1e-9)
    found = half.pull_back(there.volume.batch, slope.to("cuda"))
    expected = case.model.pull_back(case.volume.batch, slope)
    assert relative_gap(found.gradient.cpu(), expected.gradient) < 0.05
