"""A network held still is in eval mode without parameter gradients, and restored afterwards."""

import pytest
import torch
from torch import nn

from esegeta.model import held_still
from tests.builders import unet

Flags = tuple[list[bool], list[bool]]


def flags(network: nn.Module) -> Flags:
    training = [module.training for module in network.modules()]
    return training, [parameter.requires_grad for parameter in network.parameters()]


def mixed_network() -> nn.Module:
    """Return a U-Net in train mode but for some modules, with some parameters frozen."""
    network = unet(2).train()
    for module in list(network.modules())[::3]:
        module.training = False
    for parameter in list(network.parameters())[::2]:
        parameter.requires_grad_(False)
    return network


def test_inside_nothing_trains() -> None:
    network = mixed_network()
    with held_still(network) as same:
        assert same is network
        training, learning = flags(network)
        assert not any(training)
        assert not any(learning)


def test_flags_come_back_one_by_one() -> None:
    network = mixed_network()
    before = flags(network)
    assert len(set(before[0])) == len(set(before[1])) == 2
    with held_still(network):
        pass
    assert flags(network) == before


def test_flags_come_back_after_an_exception_and_when_nested() -> None:
    network = mixed_network()
    before = flags(network)
    with pytest.raises(KeyError, match="mine"), held_still(network), held_still(network):
        raise KeyError("mine")
    assert flags(network) == before


def test_tf32_is_off_while_held_and_as_before_afterwards() -> None:
    switches = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
    before = [switch.fp32_precision for switch in switches]
    with pytest.raises(KeyError), held_still(nn.Conv2d(1, 1, 1)):
        assert [switch.fp32_precision for switch in switches] == ["ieee", "ieee"]
        raise KeyError
    assert [switch.fp32_precision for switch in switches] == before
    assert before != ["ieee", "ieee"]  # or the test above could not fail
