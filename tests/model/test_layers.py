"""Layers by name, with their output shapes, and the layer at the bottom of a U-Net."""

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from esegeta.errors import LayerError
from esegeta.model import deepest_layer, find_layer, first_tensor, list_layers
from tests.builders import convolution, unet


class Tower(nn.Module):
    """Down by two, down by two, up again; one layer never runs, one returns a tuple."""

    def __init__(self, ndim: int) -> None:
        super().__init__()
        conv = convolution(ndim)
        self.down1 = conv(1, 3, 2, stride=2)
        self.down2 = conv(3, 5, 2, stride=2)
        self.bottom = conv(5, 5, 1)
        self.split = Pair()
        self.up = nn.Upsample(scale_factor=4)
        self.idle = conv(5, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        deep, _ = self.split(self.bottom(self.down2(self.down1(x))))
        return self.up(deep)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return 2 * x, x


def test_find_layer_returns_the_very_module(ndim: int) -> None:
    network = unet(ndim)
    for name, module in network.named_modules():
        if name:
            assert find_layer(network, name) is module


def test_unknown_layer_names_the_nearest() -> None:
    network = Tower(2)
    with pytest.raises(
        LayerError, match=r'"botom" is not in the network; did you mean "bottom"\? `'
    ):
        find_layer(network, "botom")
    with pytest.raises(LayerError):
        find_layer(network, "")
    with pytest.raises(LayerError, match=r"choose from: .*[a-z]; `esegeta layers CONFIG` prints"):
        find_layer(network, "all")


def test_list_layers_tells_shapes_order_and_parameters(ndim: int) -> None:
    network = Tower(ndim)
    layers = {
        layer.name: layer
        for layer in list_layers(network, lambda: network(torch.zeros(2, 1, *(8,) * ndim)))
    }
    shapes = {name: layer.output_shape for name, layer in layers.items()}
    deep = (2, 5, *(2,) * ndim)
    assert shapes == {
        "": (2, 5, *(8,) * ndim),
        "down1": (2, 3, *(4,) * ndim),
        "down2": deep,
        "bottom": deep,
        "split": deep,
        "up": (2, 5, *(8,) * ndim),
        "idle": None,
    }
    ran = ["down1", "down2", "bottom", "split", "up", ""]
    assert [layers[name].order for name in ran] == list(range(6))
    assert layers["idle"].order == -1
    assert layers["bottom"].num_parameters == 5 * 5 + 5
    assert layers["bottom"].kind == f"Conv{ndim}d"
    assert not layers["idle"].is_spatial


def test_list_layers_leaves_no_hook_after_an_exception() -> None:
    network = Tower(2)

    def run() -> None:
        network(torch.zeros(1, 1, 8, 8))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list_layers(network, run)
    assert not any(module._forward_hooks for module in network.modules())


def test_deepest_layer_is_the_last_on_the_coarsest_grid(ndim: int) -> None:
    network = Tower(ndim)
    layers = list_layers(network, lambda: network(torch.zeros(1, 1, *(8,) * ndim)))
    assert deepest_layer(layers).name == "split"


@pytest.mark.parametrize("num_res_units", [0, 2])
def test_deepest_layer_of_a_unet_is_its_bottom_block(ndim: int, num_res_units: int) -> None:
    network = UNet(ndim, 1, 2, (4, 8, 16), (2, 2), num_res_units=num_res_units).eval()
    layers = list_layers(network, lambda: network(torch.zeros(1, 1, *(16,) * ndim)))
    deepest = deepest_layer(layers)
    assert deepest.name == "model.1.submodule.1.submodule"  # not the skip that concatenates it
    assert deepest.output_shape == (1, 16, *(4,) * ndim)


def test_a_network_without_spatial_layers_is_refused() -> None:
    network = nn.Sequential(nn.Linear(3, 4))
    with pytest.raises(LayerError, match="no layer with a spatial output"):
        deepest_layer(list_layers(network, lambda: network(torch.zeros(2, 3))))


def test_the_first_tensor_of_nested_outputs_is_found() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    assert first_tensor(a) is a
    assert first_tensor([a, b]) is a
    assert first_tensor(((b,), a)) is b
    assert first_tensor({"out": b, "aux": a}) is b
    assert first_tensor([]) is None
    assert first_tensor("text") is None


class Squeezed(nn.Module):
    """A layer that pools the window into one position, as squeeze-and-excitation does."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 4, 2, stride=2)
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.head = nn.ConvTranspose2d(4, 2, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.down(x)
        return self.head(y * self.squeeze(y).sigmoid())


def test_layers_of_one_position_are_not_the_deepest() -> None:
    network = Squeezed()
    layers = list_layers(network, lambda: network(torch.zeros(1, 1, 8, 8)))
    assert deepest_layer(layers).name == "down"
