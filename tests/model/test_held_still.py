"""A network that is held still has all its flags and tensors back afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from esegeta.model import held_still


def test_flags_and_tensors_are_as_before_whatever_happened_inside() -> None:
    shared = nn.Linear(2, 2)
    network = nn.Sequential(nn.Sequential(shared, nn.Dropout()), shared, nn.BatchNorm1d(2))
    network[2].eval()
    network[1].weight.requires_grad_(False)
    before = {
        "flags": [module.training for module in network.modules()],
        "grads": [one.requires_grad for one in network.parameters()],
        "tensors": [id(one) for one in (*network.parameters(), *network.buffers())],
    }
    with pytest.raises(ValueError, match="inside"), held_still(network):
        assert not any(module.training for module in network.modules())
        assert not any(one.requires_grad for one in network.parameters())
        network.train()
        network[2].running_mean = torch.ones(2)
        shared.bias = nn.Parameter(torch.zeros(2))
        raise ValueError("inside")
    after = {
        "flags": [module.training for module in network.modules()],
        "grads": [one.requires_grad for one in network.parameters()],
        "tensors": [id(one) for one in (*network.parameters(), *network.buffers())],
    }
    assert after == before
