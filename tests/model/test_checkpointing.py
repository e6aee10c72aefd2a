"""Activation checkpointing is switched off for a while, and as it was before afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.utils import checkpoint as of_torch
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from esegeta.model import held_still, without_checkpointing
from esegeta.model.checkpointing import with_any_gradient


class Counted(nn.Module):
    """A block that counts its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return torch.sin(x) * x


def runs_of(
    block: Counted,
    call: Callable[[nn.Module, Tensor], Tensor],
    within: AbstractContextManager[object],
) -> int:
    """Return how often a block runs forward and back, and check the gradient."""
    x = torch.linspace(-1, 1, 5).requires_grad_(True)
    block.runs = 0
    with within:
        (slope,) = torch.autograd.grad(call(block, x).sum(), x)
    torch.testing.assert_close(slope, x.cos() * x + x.sin())
    return block.runs


CALLS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "not reentrant": lambda block, x: checkpoint(block, x, use_reentrant=False),
    "reentrant": lambda block, x: checkpoint(block, x, use_reentrant=True),
    "of a sequence": lambda block, x: checkpoint_sequential(
        nn.Sequential(block, nn.Identity(), nn.Identity()), 2, x, use_reentrant=True
    ),
}


def test_contexts_may_end_in_any_order() -> None:
    block = Counted()
    first, last = without_checkpointing(), with_any_gradient()
    first.__enter__()
    last.__enter__()
    first.__exit__(None, None, None)
    assert runs_of(block, CALLS["reentrant"], nullcontext()) == 2
    last.__exit__(None, None, None)
    assert runs_of(block, CALLS["not reentrant"], nullcontext()) == 2
    assert of_torch.CheckpointFunction.__name__ == "CheckpointFunction"


@pytest.mark.parametrize("kind", CALLS)
def test_a_block_runs_once_while_it_is_off_and_twice_again_afterwards(kind: str) -> None:
    block, call = Counted(), CALLS[kind]
    for _ in range(2):
        assert runs_of(block, call, without_checkpointing()) == 1
        assert runs_of(block, call, with_any_gradient()) == 2
    assert runs_of(block, CALLS["not reentrant"], nullcontext()) == 2


@pytest.mark.parametrize("kind", ["reentrant", "of a sequence"])
def test_the_reentrant_kind_is_torchs_own_again(kind: str) -> None:
    """Of which torch refuses the gradient by a tensor."""
    block, call = Counted(), CALLS[kind]
    with pytest.raises(KeyError), with_any_gradient(), without_checkpointing():
        raise KeyError
    with pytest.raises(RuntimeError, match="use_reentrant=True"):
        runs_of(block, call, nullcontext())


def test_a_network_held_still_gives_gradients_and_keeps_memory_low() -> None:
    block = Counted()
    assert runs_of(block, CALLS["reentrant"], held_still(block)) == 2
