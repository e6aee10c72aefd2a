"""A network held still: in eval mode, without parameter gradients, and restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def held_still(network: nn.Module) -> Iterator[nn.Module]:
    """Hold a network in eval mode with its parameters out of the graph.

    Parameters that need no gradient let convolutions drop the input they would keep for their
    weights' gradient. Train flags and `requires_grad` are as before on leaving, also after an
    exception.
    """
    training = [(module, module.training) for module in network.modules()]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    try:
        for module, _ in training:
            module.training = False
        for parameter in learning:
            parameter.requires_grad_(False)
        yield network
    finally:
        for module, flag in training:
            module.training = flag
        for parameter in learning:
            parameter.requires_grad_(True)
