"""Relevance flows back through autograd's graph in the place of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from esegeta.explain.backprop.operations import Place

Spread = Callable[[Sequence[Tensor], Tensor], Sequence[Tensor | None]]
"""From what was kept and the output's relevance to the relevance of each input."""


@dataclass
class Note:
    """What a node of the graph is, for those who walk it.

    Args:
        kind: of the operation.
        place: where it stands.
    """

    kind: Literal["linear", "sum", "map", "activation", "gate", "product"]
    place: Place = field(default_factory=Place)


def carry(
    compute: Callable[..., Tensor],
    spread: Spread,
    note: Note,
    inputs: Sequence[Tensor],
    kept: Sequence[Tensor] = (),
) -> Tensor:
    """Compute an operation; whatever flows back through it is spread over its inputs by a rule.

    Args:
        compute: from the inputs to the output, perhaps in place on the first.
        spread: the rule.
        note: read by walks over the graph.
        inputs: what gets relevance.
        kept: tensors for the rule; changing them in place before it ran is an error.
    """
    output: Tensor = _Carried.apply(compute, spread, note, tuple(kept), *inputs)  # type: ignore[no-untyped-call]
    return output


def pass_on(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
    """Hand relevance on as it is: the rule of activations."""
    return (relevance,)


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        compute: Callable[..., Tensor],
        spread: Spread,
        note: Note,
        kept: tuple[Tensor, ...],
        *inputs: Tensor,
    ) -> Tensor:
        ctx.spread = spread
        ctx.note = note
        ctx.shapes = [(tensor.shape, tensor.dtype) for tensor in inputs]
        output = compute(*inputs)
        if any(output is tensor for tensor in inputs):
            ctx.mark_dirty(output)
        elif output._is_view():  # of what an instance norm reshaped: later in-place calls fail
            shared = output.untyped_storage().data_ptr()
            own = all(shared != tensor.untyped_storage().data_ptr() for tensor in inputs)
            output = output.data if own else output.clone()
        ctx.save_for_backward(*kept)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, relevance: Tensor) -> tuple[Any, ...]:
        kept = [tensor.detach().float() for tensor in ctx.saved_tensors]
        spread = ctx.spread(kept, relevance.float())
        # An input that was broadcast gets what all of its copies got.
        fitted = [
            None if part is None else part.sum_to_size(shape).to(dtype)
            for part, (shape, dtype) in zip(spread, ctx.shapes, strict=True)
        ]
        return (None, None, None, None, *fitted)
