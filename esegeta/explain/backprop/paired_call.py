"""One call of a function, in the run at the baseline and in the run at the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_unflatten

from esegeta.errors import ModelError
from esegeta.explain.backprop.calls import Resolved, requires_grad
from esegeta.explain.backprop.lift_choices import SlopePair, sloped_each
from esegeta.explain.backprop.lift_rules import along_line

NODES = 16
"""Nodes of the quadrature along the line of functions that have no closed form."""


@dataclass(frozen=True)
class PairedCall:
    """One call of a nonlinear function in both runs.

    Args:
        call: call in the image's run, out of place.
        leaves: all its arguments, one after the other.
        layout: puts them back in their places.
        starts: values of the tensors among them in the baseline's run.
    """

    call: Resolved
    leaves: list[Any]
    layout: TreeSpec
    starts: Sequence[Tensor | None]

    @cached_property
    def moving(self) -> list[int]:
        """Which of its arguments are not the same at the image as at the baseline.

        Some may be without a gradient: beside the layer that multipliers are wanted for.
        """
        return [
            place
            for place, (leaf, start) in enumerate(zip(self.leaves, self.starts, strict=True))
            if requires_grad(leaf) or (start is not None and not torch.equal(leaf, start))
        ]

    def plain(self) -> Tensor:
        """Return the result with its own gradient."""
        result: Tensor = self.call.function(*self.call.args, **self.call.kwargs)
        return result

    def ends_of(self, places: Sequence[int]) -> tuple[SlopePair, SlopePair]:
        """Return two arguments at the baseline and at the image, numbers as tensors."""
        first = next(leaf for leaf in self.leaves if is_floating(leaf))
        ends = [torch.as_tensor(self.leaves[place]).to(first) for place in places]
        starts = [
            end if self.starts[place] is None else self.start(place).to(first)
            for place, end in zip(places, ends, strict=True)
        ]
        return (starts[0], starts[1]), (ends[0], ends[1])

    def along_line(self, num_nodes: int = NODES) -> Tensor:
        """Return the result with its mean gradient along the line of all that moves."""
        places = self.moving
        starts = [self.start(place) for place in places]
        ends = [self.leaves[place] for place in places]
        if self.call.in_place:  # what is kept for the backward pass must outlive the writing
            ends = [end.clone() for end in ends]
        return along_line(lambda *tensors: self.of(places, tensors), starts, ends, num_nodes)

    def sloped(self, places: Sequence[int], slopes: Sequence[Tensor]) -> Tensor:
        """Return the result, with slopes by those of some arguments that want a gradient."""
        wanted = {
            place: slope
            for place, slope in zip(places, slopes, strict=True)
            if requires_grad(self.leaves[place])
        }
        leaves = [self.leaves[place] for place in wanted]
        if self.call.in_place:  # the result is written over one of them
            leaves = [leaf.clone() for leaf in leaves]
        kept = list(wanted)
        return sloped_each(lambda *tensors: self.of(kept, tensors), leaves, list(wanted.values()))

    def start(self, place: int) -> Tensor:
        """Return what a moving argument was in the baseline's run."""
        start = self.starts[place]
        if start is None or start.shape != self.leaves[place].shape:
            raise other_way()
        return start.to(self.leaves[place].dtype)

    def of(self, places: Sequence[int], tensors: Sequence[Tensor]) -> Tensor:
        """Return the function's result for other tensors in some places, in their precision."""
        double = tensors[0].dtype == torch.float64
        leaves = [leaf.double() if double and is_floating(leaf) else leaf for leaf in self.leaves]
        for place, tensor in zip(places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self.layout)
        result: Tensor = self.call.function(*args, **kwargs)
        return result


Lifter = Callable[[PairedCall], Any]
"""Returns what a call does, with multipliers for gradients."""


def is_floating(leaf: Any) -> bool:
    """Tell whether an argument is a tensor of numbers that are not whole."""
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def is_choice(leaf: Any) -> bool:
    """Tell whether an argument is a tensor of truth values."""
    return isinstance(leaf, Tensor) and leaf.dtype == torch.bool


def varies(leaf: Any) -> bool:
    """Tell whether an argument may be another at the baseline than at the image."""
    return is_choice(leaf) or (is_floating(leaf) and not isinstance(leaf, nn.Parameter))


def other_way() -> ModelError:
    """Return the error of a network whose two runs are not the same calls."""
    return ModelError(
        "the network takes a different path at the baseline than at the image, so its layers "
        "cannot be compared",
        hint="does its forward branch on values, or draw random numbers? use integrated_gradients",
    )
