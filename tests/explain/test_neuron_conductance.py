"""Conductance through a unit: closed form, whole graphs, captum, and the sum over units."""

from __future__ import annotations

import warnings
from itertools import product

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ConfigError, LayerError
from esegeta.explain import Baseline, IntegratedGradients, NeuronConductance
from esegeta.model import find_layer
from esegeta.predict import Predictor
from tests.builders import SHAPES, convolution, pointwise, predictor, unet, volume
from tests.explain.whole_graph import tapped_windows
from tests.networks import Smooth
from tests.oracles import everywhere, frozen, relative_gap

TOLERANCE = 2e-5


class Squares(nn.Module):
    """`y_l = sum_k v_lk (u_k . x)^2` at each voxel; the squares are the units of `act`."""

    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x**2

    def __init__(self, ndim: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.enter = convolution(ndim)(2, 3, 1, bias=False)
        self.act = self.Square()
        self.leave = convolution(ndim)(3, 2, 1, bias=False)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.act(self.enter(x)))


@pytest.mark.parametrize("channel", [0, 2])
def test_a_sum_of_squares_in_closed_form(ndim: int, channel: int) -> None:
    """Through unit k: v_k u_kc (x_c - x'_c) u_k . (x + x')."""
    network = Squares(ndim)
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    start = Baseline("mean").of(image)
    inward = network.enter.weight[channel].reshape(2, *(1,) * ndim)
    along = (inward * (image.data + start)).sum(dim=0)
    outward = network.leave.weight[1, channel].item()
    expected = outward * inward * (image.data - start) * along
    method = NeuronConductance(layer="act", channel=channel, steps=1, baseline="mean")
    found = method.explain(model, image, frozen(model, image))
    assert relative_gap(found.data, expected) < TOLERANCE
    assert found.unit == "logit x voxels"
    facts = found.facts.more
    assert (facts["layer"], facts["channel"]) == ("act", channel)
    assert facts["completeness"] == "of all units of the layer together"
    assert facts["integrated_gradients_relative"] < 1e-4


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.parametrize("layer", ["model.0", "model.1.submodule.conv"])
def test_equals_the_whole_graph_written_out(ndim: int, layer: str, of: str) -> None:
    """Slopes of all windows by one graph of the prediction; then each window by itself."""
    model = predictor(unet(ndim, "prelu_batch", in_channels=2), (8,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, everywhere(of=of))
    module = find_layer(model.network, layer)
    start = Baseline("mean").of(image)
    nodes, weights = np.polynomial.legendre.leggauss(2)
    expected = torch.zeros_like(image.data)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        point = image.with_data(start + float(node) * (image.data - start))
        there = frozen(model, point, everywhere(of=of))
        _, slopes = tapped_windows(model, there, module)
        gradient = gradient_of_units(model, point.batch, module, slopes, channel=1)
        expected += float(weight) * gradient[0]
    method = NeuronConductance(layer=layer, channel=1, steps=2, baseline="mean")
    found = method.explain(model, image, target).data
    assert relative_gap(found, (image.data - start) * expected) < TOLERANCE


def gradient_of_units(
    model: Predictor, x: Tensor, module: nn.Module, slopes: list[Tensor], channel: int
) -> Tensor:
    """Return the gradient of `sum_t <slopes_t[k], A_t[k](x_t)>`, slopes fixed."""
    leaf = x.clone().requires_grad_(True)
    windows = model.windows(leaf)
    padded = windows.pad(leaf)
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda *call: seen.append(call[2]))
    for box in windows.boxes:
        model.network(padded[(slice(None), slice(None), *box)])
    handle.remove()
    total = sum(
        (slope[:, channel] * activation[:, channel]).sum()
        for slope, activation in zip(slopes, seen, strict=True)
    )
    return torch.autograd.grad(total, leaf)[0]


@pytest.mark.parametrize("layer", ["model.0.adn.N", "model.1.submodule"])
def test_captum_summed_over_the_positions(ndim: int, layer: str) -> None:
    shape = (8, 6, 4)[:ndim]
    network = unet(ndim, "prelu_batch", in_channels=2)
    model = predictor(network, shape)
    image = volume(shape, 2)
    target = frozen(model, image, everywhere(of="log_probability"))
    start = Baseline("mean").of(image)
    oracle = captum.attr.NeuronConductance(
        lambda x: target.value(network(x)), find_layer(network, layer)
    )
    expected = torch.zeros_like(image.data)
    grid = module_grid(network, layer, image.batch)
    for place in product(*(range(length) for length in grid)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="captum")
            expected += oracle.attribute(
                image.batch, (2, *place), start[None], n_steps=3, method="gausslegendre"
            )[0].detach()
    method = NeuronConductance(layer=layer, channel=2, steps=3, baseline="mean")
    assert relative_gap(method.explain(model, image, target).data, expected) < TOLERANCE


def module_grid(network: nn.Module, layer: str, x: Tensor) -> tuple[int, ...]:
    shapes: list[tuple[int, ...]] = []
    handle = find_layer(network, layer).register_forward_hook(
        lambda *call: shapes.append(tuple(call[2].shape[2:]))
    )
    network(x)
    handle.remove()
    return shapes[0]


@pytest.mark.parametrize("of", ["logit", "probability"])
@pytest.mark.slow
def test_the_units_of_a_layer_that_cuts_the_network_add_up_to_integrated_gradients(
    ndim: int, of: str
) -> None:
    model = predictor(pointwise(ndim, in_channels=2), (4,) * ndim)
    image = volume(SHAPES[ndim], 2)
    target = frozen(model, image, everywhere(of=of))
    whole = IntegratedGradients(steps=3, baseline="mean", tolerance=9.0)
    parts = [
        NeuronConductance(layer="1", channel=channel, steps=3, baseline="mean")
        .explain(model, image, target)
        .data
        for channel in range(5)
    ]
    expected = whole.explain(model, image, target).data
    assert relative_gap(torch.stack(parts).sum(dim=0), expected) < TOLERANCE


def test_the_units_of_a_bypassed_layer_do_not_add_up(ndim: int) -> None:
    """What flows past the layer is missing from the sum: the test above could fail."""
    model = predictor(Smooth(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    target = frozen(model, image)
    whole = IntegratedGradients(steps=2, baseline="mean", tolerance=9.0)
    parts = [
        NeuronConductance(layer="down", channel=channel, steps=2, baseline="mean")
        .explain(model, image, target)
        .data
        for channel in range(4)
    ]
    expected = whole.explain(model, image, target).data
    assert relative_gap(torch.stack(parts).sum(dim=0), expected) > 0.1


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Conv2d(1, 1, 3, padding=1)
        self.idle = nn.Conv2d(1, 1, 1)
        self.head = nn.Conv2d(1, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.idle(x)
        return self.head(self.block(self.block(x)))


@pytest.mark.parametrize(
    ("layer", "channel", "message"),
    [
        ("block", 0, '"block" runs more than once'),
        ("idle", 0, "the output does not depend on this layer"),
        (
            "head",
            2,
            r'channel 2: the output of layer "head" is \(\d, 2, 4, 4\); name a channel from 0 to 1',
        ),
        ("hed", 0, '"hed" is not in the network.*"head"'),
    ],
)
def test_a_unit_that_cannot_be_passed_is_refused(layer: str, channel: int, message: str) -> None:
    model = predictor(Twice(), (4, 4))
    image = volume((4, 5))
    method = NeuronConductance(layer=layer, channel=channel, steps=1)
    with pytest.raises(LayerError, match=message):
        method.explain(model, image, frozen(model, image))
    assert not model.network.block._forward_hooks


class Excited(nn.Module):
    """Channels times gates of one number each, made of their means; and a layer held constant."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 3, 1)
        self.gate = nn.Linear(3, 3)
        self.held = nn.Conv2d(1, 3, 1)
        self.head = nn.Conv2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        gate = self.gate(y.mean((2, 3))).sigmoid()
        return self.head(y * gate[:, :, None, None] + self.held(x.detach()))


def test_a_unit_of_one_number_passes_on_what_goes_through_it() -> None:
    """By one window: the gradient through unit 1 alone, all others held."""
    network = Excited().requires_grad_(False)
    model, image = predictor(network, (4, 4), overlap=0.0), volume((4, 4))
    target = frozen(model, image)
    method = NeuronConductance(layer="gate", channel=1, steps=2, baseline="zero")
    found = method.explain(model, image, target).data
    nodes, weights = np.polynomial.legendre.leggauss(2)
    expected = torch.zeros_like(image.data)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        x = (float(node) * image.batch).requires_grad_(True)
        y = network.enter(x)
        units = network.gate(y.mean((2, 3)))
        units = torch.cat([units[:, :1].detach(), units[:, 1:2], units[:, 2:].detach()], dim=1)
        logits = network.head(y.detach() * units.sigmoid()[:, :, None, None])
        (slope,) = torch.autograd.grad(target.value(logits).sum(), x)
        expected += float(weight) * slope[0]
    assert relative_gap(found, image.data * expected) < TOLERANCE


def test_a_unit_that_the_input_does_not_reach_is_refused() -> None:
    model, image = predictor(Excited(), (4, 4)), volume((4, 4))
    with pytest.raises(LayerError, match='"held" does not depend on the input'):
        NeuronConductance(layer="held").explain(model, image, frozen(model, image))


@pytest.mark.parametrize("bad", [{"steps": 0}, {"channel": -1}])
def test_bad_parameters_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="must be at least"):
        NeuronConductance(**bad)
