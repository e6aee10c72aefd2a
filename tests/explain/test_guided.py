"""Guided backpropagation and deconvolution, against captum, closed forms and one whole graph."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from esegeta.errors import MapError, ModelError
from esegeta.explain import Deconvolution, Explainer, GuidedBackprop, Saliency
from esegeta.predict import LinearForm, Predictor
from esegeta.targets import FrozenTarget
from esegeta.volume import Volume
from tests.builders import SHAPES, convolution, linear, predictor, unet, volume
from tests.oracles import (
    everywhere,
    frozen,
    gradient_of,
    monai_prediction,
    relative_gap,
    with_coefficients,
)
from tests.pairwise import pairwise

TOLERANCE = 2e-5
METHODS = [GuidedBackprop, Deconvolution]
ORACLES = {GuidedBackprop: captum.attr.GuidedBackprop, Deconvolution: captum.attr.Deconvolution}


class Slow(torch.autograd.Function):
    """ReLU or PReLU with the rule written out."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, slope: Tensor, method: type) -> Tensor:
        ctx.save_for_backward(z, slope)
        ctx.method = method
        return torch.where(z > 0, z, slope * z)

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        z, slope = ctx.saved_tensors
        positive = torch.where(arriving > 0, arriving, torch.zeros(()))
        if ctx.method is GuidedBackprop:
            positive = torch.where(z > 0, positive, slope * positive)
        return positive, None, None


class SlowModule(nn.Module):
    """Stands in for an activation."""

    def __init__(self, inner: nn.Module, method: type) -> None:
        super().__init__()
        self.slope = inner.weight if isinstance(inner, nn.PReLU) else torch.zeros(1)
        self.method = method

    def forward(self, z: Tensor) -> Tensor:
        return Slow.apply(z, self.slope, self.method)


def rewritten(network: nn.Module, method: type) -> nn.Module:
    """Return a copy of a network with slow activations."""
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, (nn.ReLU, nn.PReLU)):
                setattr(parent, name, SlowModule(child, method))
    return network


def slow_guided(
    model: Predictor, image: Volume, target: FrozenTarget, method: type = GuidedBackprop
) -> Tensor:
    """Return the map by one graph of MONAI's blend of a rewritten network."""
    slow = replace(model, network=rewritten(model.network, method))
    return gradient_of(lambda x: target.value(monai_prediction(slow, x)), image.batch)[0]


def hidden_layer(ndim: int, activation: nn.Module) -> nn.Sequential:
    """Return two pointwise convolutions with an activation between."""
    torch.manual_seed(1)
    conv = convolution(ndim)
    return nn.Sequential(conv(2, 6, 1), activation, conv(6, 2, 1))


@pytest.mark.parametrize("method", METHODS)
def test_one_hidden_layer_in_closed_form(ndim: int, method: type[Explainer]) -> None:
    """a_c = sum_h W_hc [z_h > 0] max(V_h, 0); deconvolution knows no z."""
    network = hidden_layer(ndim, nn.ReLU())
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    found = method().explain(model, image, frozen(model, image)).data
    first, second = network[0].weight.flatten(1), network[2].weight.flatten(1)[1]
    open_units = (network[0](image.batch)[0] > 0).float().detach()
    passed = open_units if method is GuidedBackprop else torch.ones_like(open_units)
    expected = torch.einsum("hc,h...,h->c...", first, passed, second.clamp(min=0)).detach()
    assert relative_gap(found, expected) < TOLERANCE


@pairwise(
    ndim=[2, 3],
    kind=["relu_batch", "prelu_batch", "relu_instance"],
    method=METHODS,
    of=["logit", "log_probability"],
)
def test_windows_equal_one_graph_of_the_blended_prediction(
    ndim: int, kind: str, method: type[Explainer], of: str
) -> None:
    """MONAI's blend of a network with other activations, differentiated as a whole."""
    network = unet(ndim, kind, num_res_units=1)
    image = volume(SHAPES[ndim])
    model = predictor(network, (8,) * ndim)
    target = frozen(model, image, everywhere(of=of))
    found = method().explain(model, image, target).data
    expected = slow_guided(model, image, target, method)
    assert relative_gap(found, expected) < TOLERANCE
    plain = Saliency().explain(model, image, target).data
    assert relative_gap(found, plain) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_captum_on_relu_modules_where_one_window_is_the_volume(
    ndim: int, method: type[Explainer]
) -> None:
    shape = (8, 10, 6)[:ndim]
    network = unet(ndim, num_res_units=1, in_channels=2)
    for module in network.modules():  # captum's hooks do not go with in-place activations
        if isinstance(module, nn.ReLU):
            module.inplace = False
    image = volume(shape, 2)
    model = predictor(network, shape)
    target = frozen(model, image)
    found = method().explain(model, image, target).data

    class Value(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return target.value(self.network(x))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = ORACLES[method](Value())
        expected = oracle.attribute(image.batch.clone().requires_grad_(True))[0]
    assert relative_gap(found, expected.detach()) < TOLERANCE


def written_over(z: Tensor) -> Tensor:
    torch.relu_(z)
    return z


SPELLED: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "method": lambda z: z.relu(),
    "in place": lambda z: F.relu(z, inplace=True),
    "statement": written_over,
    "of a slice": lambda z: torch.cat([written_over(z[:, :3]), z[:, 3:].relu_()], dim=1),
    "clamp": lambda z: z.clamp(min=0),
    "added in place": lambda z: F.threshold(z, 0.0, 0.0).add_(0.0),
    "checkpointed": lambda z: checkpoint(F.relu, z, use_reentrant=False),
}


class Spelled(nn.Module):
    """A hidden layer whose activation is a function."""

    def __init__(self, spelling: str) -> None:
        super().__init__()
        self.layers = hidden_layer(2, nn.Identity())
        self.spelling = spelling

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[2](SPELLED[self.spelling](self.layers[0](x)))


@pytest.mark.parametrize("spelling", SPELLED)
@pytest.mark.parametrize("method", METHODS)
def test_every_form_of_the_activation_gives_the_same_map(
    method: type[Explainer], spelling: str
) -> None:
    image = volume(SHAPES[2], 2)
    model = predictor(hidden_layer(2, nn.ReLU()), (4, 4))
    expected = method().explain(model, image, frozen(model, image)).data
    other = predictor(Spelled(spelling), (4, 4))
    found = method().explain(other, image, frozen(other, image))
    assert relative_gap(found.data, expected) < TOLERANCE
    names = {"clamp": "clamp", "added in place": "threshold"}
    assert found.facts.more["activations"] == [names.get(spelling, "relu")]


ACTIVATIONS = [nn.LeakyReLU(0.2), nn.PReLU(), nn.ELU(), nn.GELU(), nn.SiLU(inplace=True)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda module: type(module).__name__)
def test_other_activations_clamp_what_arrives_and_keep_their_slope(
    ndim: int, activation: nn.Module
) -> None:
    """Captum guides none of these: its map is the plain gradient."""
    network = hidden_layer(ndim, activation)
    image = volume(SHAPES[ndim], 2)
    model = predictor(network, (4,) * ndim)
    target = frozen(model, image)
    first, second = network[0].weight.flatten(1), network[2].weight.flatten(1)[1]
    z = network[0](image.batch)
    slopes = {
        GuidedBackprop: gradient_of(lambda x: activation(x * 1.0), z)[0],
        Deconvolution: torch.ones_like(z)[0],
    }
    for method, slope in slopes.items():
        found = method().explain(model, image, target).data
        expected = torch.einsum("hc,h...,h->c...", first, slope, second.clamp(min=0)).detach()
        assert relative_gap(found, expected) < TOLERANCE


@pytest.mark.parametrize("method", METHODS)
def test_negative_coefficients_of_the_target_are_not_clamped(method: type[Explainer]) -> None:
    """The map of minus the target shows units that lower it: neither minus the map nor zeros."""
    network = hidden_layer(2, nn.ReLU())
    image = volume(SHAPES[2], 2)
    model = predictor(network, (4, 4))
    target = frozen(model, image)
    assert isinstance(target.coefficients, LinearForm)
    minus = with_coefficients(target, -target.coefficients.dense())
    plus_map, minus_map = (method().explain(model, image, it).data for it in (target, minus))
    flipped = hidden_layer(2, nn.ReLU())
    with torch.no_grad():
        flipped[2].weight.neg_()
    other = predictor(flipped, (4, 4))
    expected = method().explain(other, image, frozen(other, image)).data
    assert relative_gap(minus_map, expected) < TOLERANCE
    assert relative_gap(minus_map, -plus_map) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_activations_is_refused_naming_its_operations(
    ndim: int, method: type[Explainer]
) -> None:
    network = nn.Sequential(linear(ndim, 1, 3), nn.Softmax(dim=1), linear(ndim, 3, 2))
    image = volume(SHAPES[ndim])
    model = predictor(network, (4,) * ndim)
    with pytest.raises(MapError, match=rf"no activation was found.*conv{ndim}d, softmax"):
        method().explain(model, image, frozen(model, image))


def test_an_activation_off_the_path_does_not_count() -> None:
    """Its input does not depend on the image, or nothing depends on it."""

    class Beside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear(2)

        def forward(self, x: Tensor) -> Tensor:
            F.relu(x)
            return self.inner(x) * torch.relu(torch.ones(1))

    model = predictor(Beside(), (4, 4))
    image = volume(SHAPES[2])
    with pytest.raises(MapError, match="no activation was found"):
        GuidedBackprop().explain(model, image, frozen(model, image))


def test_a_compiled_program_whose_activations_cannot_be_seen_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        network = torch.jit.trace(hidden_layer(2, nn.ReLU()), torch.zeros(1, 2, 4, 4))
    model = predictor(network, (4, 4))
    image = volume(SHAPES[2], 2)
    with pytest.raises(ModelError, match=r"TorchScript.*choose from: saliency"):
        GuidedBackprop().explain(model, image, frozen(model, image))
