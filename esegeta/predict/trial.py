"""A closed network on trial: whether slopes flow back through it, and if it is deterministic."""

from __future__ import annotations

import torch
from torch import nn

from esegeta.axes import Shape
from esegeta.errors import ModelError, is_out_of_memory
from esegeta.model import FIRST, OutputChoice, capability_of, held_still
from esegeta.predict.probe import empty_window


def gradients_flow(
    network: nn.Module, size: Shape, num_channels: int, *, output: OutputChoice = FIRST
) -> bool:
    """Tell whether slopes flow back to a window: of a closed network by trying; others let them."""
    return capability_of(network).hooks or try_gradients(network, size, num_channels, output=output)


def try_gradients(
    network: nn.Module, size: Shape, num_channels: int, *, output: OutputChoice = FIRST
) -> bool:
    """Run a window of noise forward and back, and tell whether a slope reaches it.

    Args:
        network: network, which is known to take the window.
        size: size of the window, `*W`.
        num_channels: C.
        output: which of several tensors holds the logits.

    Raises:
        ModelError: two passes over the same window differ: it was traced or exported in train mode.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((1, num_channels, *size), generator=generator)
    window = noise.to(empty_window(network, size, num_channels))
    with held_still(network):
        with torch.no_grad():
            first, second = (output.of(network(window)) for _ in range(2))
        if first is not None and second is not None and _differ(first, second):
            raise ModelError(
                "two passes of the network over the same window differ: dropout or noise is "
                "permanently switched on in it",
                hint="call network.eval() before it is scripted, traced or exported",
            )
        try:
            with torch.enable_grad():
                seen = output.of(network(window.requires_grad_(True)))
            if seen is None or not seen.requires_grad:
                return False
            (slope,) = torch.autograd.grad(seen.sum(), window, allow_unused=True)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            return False  # NotImplementedError, of an operation without a derivative, is one
    return slope is not None


ROUNDING = 1e-3
"""Fraction of the largest value: passes of one network differ by less, whatever its threads do."""


def _differ(one: torch.Tensor, other: torch.Tensor) -> bool:
    apart = float((one - other).abs().max()) if one.numel() else 0.0
    return apart > ROUNDING * float(one.abs().max())
