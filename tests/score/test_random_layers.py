"""Which layers of a network get random weights, in which order, and networks that have none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.score.sanity.weights import RandomWeights, evenly
from esegeta.targets import Scene, UnitTarget
from tests.builders import SHAPES, convolution, predictor, unet, volume
from tests.score.layers import names, weights_of

TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


def test_layers_go_from_the_output_to_the_input_with_their_norms_and_slopes(ndim: int) -> None:
    weights = weights_of(unet(ndim, "prelu_batch"), ndim)
    assert [layer.modules for layer in weights.layers] == [
        ("model.2.conv",),
        ("model.1.submodule.conv", "model.1.submodule.adn.N", "model.1.submodule.adn.A"),
        ("model.0.conv", "model.0.adn.N", "model.0.adn.A"),
    ]
    assert names(weights) == ["model.2.conv", "model.1.submodule.conv", "model.0.conv"]


class Backwards(nn.Module):
    """Declares its layers in another order than it runs them in, and one that it never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 2, 1)
        self.idle = nn.Conv2d(3, 2, 1)
        self.middle = nn.Conv2d(3, 3, 1)
        self.norm = nn.BatchNorm2d(1)
        self.first = nn.Conv2d(1, 3, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.middle(torch.tanh(self.first(self.norm(x))))))


def test_layers_are_ordered_as_they_run() -> None:
    weights = weights_of(Backwards())
    assert names(weights) == ["last", "middle", "first"]
    # A norm before all operations belongs to the first of them.
    assert weights.layers[-1].modules == ("norm", "first")


class Functional(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 1)
        self.second = nn.Conv2d(3, 2, 1)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(torch.tanh(self.first(x)), self.second.weight)


def test_weights_used_without_their_module_are_found() -> None:
    assert sorted(names(weights_of(Functional()))) == ["first", "second"]


def test_layers_behind_a_unit_are_left_out(ndim: int) -> None:
    model, image = predictor(unet(ndim), (8,) * ndim), volume(SHAPES[ndim])
    target = UnitTarget("model.1.submodule", 3).freeze(Scene(model, image))
    weights = RandomWeights(model, target, image, 0)
    assert names(weights) == ["model.1.submodule.conv", "model.0.conv"]


class Bare(nn.Module):
    """Has no weights."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, -x], dim=1)


def test_a_network_without_weights_is_an_error() -> None:
    with pytest.raises(ModelError, match="no weights"):
        weights_of(Bare())


def test_a_network_detached_from_its_weights_is_one_layer() -> None:
    class Detached(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    assert names(weights_of(Detached(1, 2, 1).eval())) == ["(network)"]


def test_3d_and_transposed_convolutions_have_layers(ndim: int) -> None:
    conv = convolution(ndim)
    network = nn.Sequential(conv(1, 2, 2, stride=2), TRANSPOSED[ndim](2, 2, 2, stride=2)).eval()
    assert names(weights_of(network, ndim)) == ["1", "0"]


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [(10, 6, [0, 2, 4, 5, 7, 9]), (4, 6, [0, 1, 2, 3]), (10, 2, [0, 9]), (1, 2, [0])],
)
def test_evenly_chosen_layers_include_both_ends(
    length: int, count: int, expected: list[int]
) -> None:
    assert evenly(range(length), count) == expected
