"""Whether the networks of an ensemble are folds of one: of the same code, with other weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.model import FIRST, OutputChoice, State, held_still, hold


def require_same_function(
    networks: Sequence[nn.Module],
    states: Sequence[State],
    names: Sequence[str],
    window: Tensor,
    *,
    output: OutputChoice = FIRST,
) -> None:
    """Refuse members that differ in more than their parameters and buffers, seen on one window.

    Args:
        networks: all members as they were given; the first holds the states of the others.
        states: states of all members.
        names: name of each member, for messages.
        window: `1 C *W`.
        output: which of several returned tensors is meant.

    Raises:
        ModelError: a member does.
    """
    for network, state, name in zip(networks[1:], states[1:], names[1:], strict=True):
        with torch.no_grad(), held_still(network):
            expected = output.of(network(window))
        with torch.no_grad(), held_still(networks[0]):
            hold(networks[0], state)
            found = output.of(networks[0](window))
        if expected is None or found is None or not _alike(found, expected):
            raise ModelError(
                f"{name}: differs from {names[0]} in more than its parameters and buffers",
                hint="the members of an ensemble are folds of one network; make what differs a "
                "parameter or a buffer",
            )


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)
