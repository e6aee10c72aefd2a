"""A tap holds the latest output of a layer, whatever runs behind it, and leaves no trace."""

import pytest
import torch
from torch import nn

from esegeta.model import tap
from tests.builders import unet


def in_place_chain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 1))


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_the_latest_forward_replaces_the_one_before() -> None:
    network = in_place_chain()
    first, second = torch.randn(2, 1, 1, 4, 4)
    with tap(network, "0") as outputs:
        assert outputs == {}
        network(first)
        network(second)
    assert len(outputs) == 1
    assert torch.equal(outputs["0"], network[0](second))


def test_an_in_place_activation_does_not_overwrite_what_was_read() -> None:
    network = in_place_chain()
    x = torch.randn(1, 1, 5, 5)
    expected = network[0](x)
    assert (expected < 0).any()
    with tap(network, "0") as outputs, torch.no_grad():
        network(x)
    assert torch.equal(outputs["0"], expected)


def test_a_tap_changes_neither_output_nor_gradient(ndim: int) -> None:
    network = unet(ndim)
    x = torch.randn(1, 1, *(8,) * ndim, requires_grad=True)
    (plain,) = torch.autograd.grad(network(x).square().sum(), x)
    with tap(network, "model.0") as outputs:
        y = network(x)
    (tapped,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
    assert torch.equal(y, network(x))
    assert torch.equal(tapped, plain)
    # What was read is a node of the graph: its own gradient can be asked for.
    (slope,) = torch.autograd.grad(y.square().sum(), outputs["model.0"])
    assert slope.shape == outputs["model.0"].shape
    assert slope.abs().max() > 0


def test_gradient_at_a_tap_before_an_in_place_activation() -> None:
    network = in_place_chain()
    x = torch.randn(1, 1, 5, 5)
    with tap(network, "0") as outputs:
        y = network(x)
    (slope,) = torch.autograd.grad(y.sum(), outputs["0"])
    weights = network[2].weight.detach().sum(dim=0).reshape(1, 3, 1, 1)
    torch.testing.assert_close(slope, weights * (outputs["0"] > 0))


def test_a_tuple_gives_its_first_tensor() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x + 1, x

    network = nn.Sequential(Pair())
    with tap(network, "0") as outputs:
        result = network(torch.zeros(2))
    assert torch.equal(outputs["0"], torch.ones(2))
    assert torch.equal(result[0], torch.ones(2))


def test_the_hook_is_gone_after_use_and_after_an_exception() -> None:
    network = in_place_chain()
    with tap(network, "0"):
        assert hooks_of(network) == 1
    assert hooks_of(network) == 0
    with pytest.raises(KeyError, match="mine"), tap(network, "0"):
        raise KeyError("mine")
    assert hooks_of(network) == 0
