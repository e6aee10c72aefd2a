"""Activation checkpointing, which runs a block of a network once more in the backward pass.

Whoever watches or changes layers, or sends something else than the gradient back, does so in the
forward pass, and a block that runs again would run without it: there checkpointing is switched
off. Elsewhere it stays, since it saves memory, in the form that gives gradients by any tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint as of_torch

REENTRANT = "CheckpointFunction"
"""What torch's `checkpoint` applies where it is told `use_reentrant=True`."""

AROUND = "_checkpoint_without_reentrant_generator"
"""What it goes through step by step otherwise: once before the block runs, once after."""

_STACKS: dict[str, list[Any]] = {}
"""What stands under each name of torch's, below all that took its place and has not left yet."""


@contextmanager
def without_checkpointing() -> Iterator[None]:
    """Run blocks under `torch.utils.checkpoint` like any other, once and with a graph.

    All is as before on leaving, also after an exception; may be nested.
    """
    with _exchanged(REENTRANT, _Once), _exchanged(AROUND, _around_nothing):
        yield


@contextmanager
def with_any_gradient() -> Iterator[None]:
    """Checkpoint blocks so that `torch.autograd.grad` works, as `use_reentrant=True` does not.

    All is as before on leaving, also after an exception; may be nested.
    """
    with _exchanged(REENTRANT, _NotReentrant):
        yield


class _Once:
    """Stands in for the autograd function that runs a block without a graph."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the block."""
        return function(*args)


class _NotReentrant:
    """Stands in for the same function."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the block now, and once more where its graph is asked for."""
        return of_torch.checkpoint(
            function, *args, use_reentrant=False, preserve_rng_state=preserve_rng_state
        )


def _around_nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Do nothing before a block runs, and nothing after."""
    yield


@contextmanager
def _exchanged(name: str, instead: Any) -> Iterator[None]:
    # Networks hold the function `checkpoint` under names of their own, so that it stays what it
    # is, and what it calls is exchanged. Who comes first need not go last: threads overlap, and a
    # generator that nobody finishes leaves when it is collected.
    stack = _STACKS.setdefault(name, [getattr(of_torch, name)])
    stack.append(instead)
    setattr(of_torch, name, instead)
    try:
        yield
    finally:
        stack.remove(instead)
        setattr(of_torch, name, stack[-1])
