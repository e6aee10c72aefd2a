"""A layer held at another output: what follows sees it alone, and no trace is left."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.errors import LayerError
from esegeta.model import held_at, tap
from tests.builders import unet


def in_place_chain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))


def test_following_layers_see_only_the_held_output(ndim: int) -> None:
    """Held at what the layer put out for another image, a chain gives that image's output."""
    network = unet(ndim)
    here, there = torch.randn(2, 1, 1, *(8,) * ndim)
    layer = "model.2"  # the last block: everything goes through it
    with torch.no_grad(), tap(network, layer) as seen:
        expected = network(there)
        other, own = seen[layer], network(here)
        with held_at(network, layer, other):
            found = network(here)
    assert torch.equal(found, expected)
    assert not torch.equal(found, own)
    assert torch.equal(network(here), own)


def test_a_tap_set_before_sees_the_own_output_of_the_layer() -> None:
    network = in_place_chain()
    x = torch.randn(1, 1, 5, 5)
    own = network[0](x)
    with torch.no_grad(), tap(network, "0") as seen, held_at(network, "0", torch.ones(1, 3, 5, 5)):
        network(x)
    assert torch.equal(seen["0"], own)


def test_an_in_place_activation_does_not_overwrite_the_held_output() -> None:
    network = in_place_chain()
    output = torch.randn(1, 3, 5, 5)
    before = output.clone()
    with torch.no_grad(), held_at(network, "0", output):
        found = network(torch.randn(1, 1, 5, 5))
    assert torch.equal(output, before)
    assert torch.equal(found, network[2](before.relu()))


def test_no_hook_is_left_behind_an_exception() -> None:
    network = in_place_chain()
    words = r'layer "0" is to be held at an output of shape \[1, 4, 5, 5\]'
    with pytest.raises(LayerError, match=words), held_at(network, "0", torch.zeros(1, 4, 5, 5)):
        network(torch.randn(1, 1, 5, 5))
    assert not network[0]._forward_hooks
    with pytest.raises(LayerError, match="is not in the network"):
        held_at(network, "9", torch.zeros(1)).__enter__()
