"""Which layers have units: each map once, whoever hands it on, and whoever writes over it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.model import find_unit_layers


class Block(nn.Module):
    """Hands on the output of what is inside it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.inside = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.inside(x)
        return y


@pytest.mark.parametrize("inplace", [False, True])
def test_a_layer_before_an_in_place_activation_is_listed(inplace: bool) -> None:
    """The same tensor is handed on, with other values: a layer of its own in front of it."""
    network = nn.Sequential(Block(nn.Conv2d(1, 3, 1), nn.ReLU(inplace)), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        found = find_unit_layers(network, "all", torch.randn(1, 1, 4, 4))
    assert [layer.name for layer in found] == ["0.inside.0", "0", "1"]


def test_modules_that_pass_their_input_through_are_not_listed() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Identity(), nn.Dropout(), nn.Conv2d(3, 2, 1))
    network.eval()
    with torch.no_grad():
        found = find_unit_layers(network, "all", torch.randn(1, 1, 4, 4))
    assert [layer.name for layer in found] == ["0", "3"]


def test_all_leaves_out_layers_of_one_position() -> None:
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1))
    with torch.no_grad():
        everything = find_unit_layers(network, "all", torch.randn(1, 1, 4, 4))
        named = find_unit_layers(network, ["1"], torch.randn(1, 1, 4, 4))
    assert [layer.name for layer in everything] == ["0"]
    assert named[0].patch == (1, 1)


def test_the_outermost_of_nested_modules_with_one_output_is_listed() -> None:
    network = nn.Sequential(Block(Block(nn.Conv2d(1, 3, 1))), nn.Identity())
    with torch.no_grad():
        found = find_unit_layers(network, "all", torch.randn(1, 1, 4, 4))
    assert [layer.num_units for layer in found] == [3]
