"""A network held still: in eval mode, without parameter gradients, in full float32; restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from esegeta.model.device import full_float32


@contextmanager
def held_still(network: nn.Module) -> Iterator[nn.Module]:
    """Hold a network in eval mode with its parameters out of the graph and TF32 switched off.

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
        with full_float32():
            yield network
    finally:
        for module, flag in training:
            module.training = flag
        for parameter in learning:
            parameter.requires_grad_(True)
