"""What the maps of paths add up to, and how fast the integrals settle."""

from __future__ import annotations

from dataclasses import replace

import captum.attr
import pytest
import torch
from torch import Tensor, nn

from esegeta.explain import (
    Explainer,
    LayerConductance,
    LayerDeepLift,
    LayerIntegratedGradients,
    NeuronConductance,
)
from esegeta.explain.baseline import Baseline
from esegeta.model import find_layer
from tests.builders import convolution, linear, pointwise, predictor, unet, volume
from tests.explain.test_layer_paths import BLUR, TOLERANCE, by_captum
from tests.explain.whole_graph import WholeGraph
from tests.networks import Power, Smooth
from tests.oracles import everywhere, frozen, relative_gap


@pytest.mark.slow
def test_conductance_tends_to_captums_and_faster(ndim: int) -> None:
    """Twice the steps: a quarter of the error here, half of it there."""
    shape = (8, 6, 6)[:ndim]
    network = Smooth(ndim)
    model, image = predictor(network, shape), volume(shape)
    target = frozen(model, image, everywhere(of="log_probability"))
    setting = (network, model, image, target)

    def ours(steps: int) -> Tensor:
        method = LayerConductance(layer="down", steps=steps, baseline=BLUR)
        return method.explain(model, image, target).layer_maps[0].data.double()

    def theirs(steps: int) -> Tensor:
        return by_captum(
            lambda f, layer, x, start: captum.attr.LayerConductance(f, layer).attribute(
                x, start, n_steps=steps
            ),
            setting,
            "down",
        )

    limit = ours(40)
    errors = [relative_gap(ours(steps), limit) for steps in (2, 4, 8)]
    assert errors[0] / errors[1] > 3.5
    assert errors[1] / errors[2] > 3.5
    gaps = [relative_gap(theirs(steps), limit) for steps in (16, 32, 64)]
    assert 1.7 < gaps[0] / gaps[1] < 2.3
    assert 1.7 < gaps[1] / gaps[2] < 2.3
    assert errors[2] < gaps[2]


def test_conductance_of_a_square_is_exact_in_one_step(ndim: int) -> None:
    """R = sum A^2: the slope is linear in A, and A is linear on the way."""
    shape = (9, 6, 7)[:ndim]
    convolved = linear(ndim)
    model, image = predictor(Power(convolved, 2), (4,) * ndim), volume(shape)
    target = frozen(model, image)
    method = LayerConductance(layer="convolved", steps=1, baseline="mean")
    found = method.explain(model, image, target).data
    ends = [convolved(one[None])[0, 1] ** 2 for one in (image.data, Baseline("mean").of(image))]
    assert relative_gap(found, (ends[0] - ends[1])[None]) < TOLERANCE


@pytest.mark.parametrize("of", ["logit", "log_probability"])
def test_layer_integrated_gradients_adds_up_to_the_change_by_the_layer(ndim: int, of: str) -> None:
    """The skip connection around the layer sees the image all along."""
    network = unet(ndim)
    model, image = predictor(network, (8,) * ndim), volume((8, 12, 8)[:ndim])
    target = frozen(model, image, everywhere(of=of))
    method = LayerIntegratedGradients(layer="model.1.submodule", steps=16, baseline=BLUR)
    found = method.explain(model, image, target)
    graph = WholeGraph(model, target, find_layer(network, "model.1.submodule"))
    with torch.no_grad():
        _, there = graph(BLUR.of(image))
        change = float(graph(image.data)[0] - graph(image.data, there)[0])
        whole = float(graph(image.data)[0] - graph(BLUR.of(image))[0])
    assert found.facts.more["change_of_target"] == pytest.approx(change, rel=1e-4)
    assert found.facts.more["completeness_relative"] < 0.01
    assert float(found.data.double().sum()) == pytest.approx(change, rel=0.01)
    assert abs(whole - change) > 0.05 * abs(whole)
    assert not found.warnings


def test_layer_integrated_gradients_warns_of_a_gap() -> None:
    model, image = predictor(unet(2), (8, 8)), volume((13, 11))
    method = LayerIntegratedGradients(steps=1, baseline=BLUR, tolerance=1e-6)
    target = frozen(model, image, everywhere(of="log_probability"))
    found = method.explain(model, image, target)
    assert "completeness" in found.warnings[0]
    assert found.facts.more["completeness_relative"] > 1e-6


def test_conductance_adds_up_if_nothing_bypasses_the_layer(ndim: int) -> None:
    network = pointwise(ndim)
    model, image = predictor(network, (6,) * ndim), volume((9, 6, 6)[:ndim])
    target = frozen(model, image, everywhere(of="log_probability"))
    found = LayerConductance(layer="1", steps=24, baseline=BLUR).explain(model, image, target)
    with torch.no_grad():
        ends = [target.value(network(one[None])) for one in (image.data, BLUR.of(image))]
    assert found.facts.more["change_of_target"] == pytest.approx(float(ends[0] - ends[1]), rel=1e-4)
    assert found.facts.more["completeness_relative"] < 1e-3


def chain(ndim: int) -> nn.Module:
    """Return convolutions without bias and instance norms one after another; nothing bypasses."""
    torch.manual_seed(0)
    conv = convolution(ndim)
    norm = nn.InstanceNorm2d if ndim == 2 else nn.InstanceNorm3d
    layers: list[nn.Module] = []
    for place in range(3):
        layers += [conv(4 if place else 1, 4, 3, padding=1, bias=False), norm(4), nn.ReLU()]
    return nn.Sequential(*layers, conv(4, 2, 1)).eval()


WARNED = {
    "layer_conductance": LayerConductance(layer="3", steps=4, baseline="zero"),
    "neuron_conductance": NeuronConductance(layer="3", steps=4, baseline="zero"),
}


@pytest.mark.parametrize("name", WARNED)
def test_an_integral_that_has_not_converged_is_warned_of(name: str, ndim: int) -> None:
    """All the change lies in the first thousandths of the path, and no step does."""
    model, image = predictor(chain(ndim), (6,) * ndim), volume((6,) * ndim)
    target = frozen(model, image)
    (warning,) = WARNED[name].explain(model, image, target).warnings
    assert warning.startswith("completeness: ")
    smooth = predictor(pointwise(ndim), (6,) * ndim)
    settled = replace(WARNED[name], layer="1", steps=16)
    assert settled.explain(smooth, image, frozen(smooth, image)).warnings == ()


def test_layer_deep_lift_adds_up_if_nothing_bypasses_the_layer(ndim: int) -> None:
    model, image = predictor(chain(ndim), (6,) * ndim), volume((6,) * ndim)
    found = LayerDeepLift(layer="3", baseline="zero").explain(model, image, frozen(model, image))
    assert found.facts.more["completeness_relative"] < 1e-4
    assert found.warnings == ()


@pytest.mark.parametrize(
    "method",
    [LayerConductance(layer="down", steps=2), LayerDeepLift(layer="down"), NeuronConductance()],
)
def test_completeness_of_a_bypassed_layer_cannot_be_checked(method: Explainer, ndim: int) -> None:
    model, image = predictor(Smooth(ndim), (8,) * ndim), volume((8,) * ndim)
    method = replace(method, layer="down", baseline=BLUR)
    found = method.explain(model, image, frozen(model, image))
    assert found.facts.more["completeness"] == (
        "cannot be checked: the image reaches the output around the layer as well"
    )
    assert "completeness_relative" not in found.facts.more
    assert found.warnings == ()
