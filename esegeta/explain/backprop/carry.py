"""Relevance carried through the autograd graph, and what the graph says about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from esegeta.explain.backprop.functions import MAP_NODES, PLAIN_NODES
from esegeta.explain.backprop.operations import CallPlace
from esegeta.explain.graph import nodes_behind

Spread = Callable[[Sequence[Tensor], Tensor], Sequence[Tensor | None]]
"""From what was kept and the output's relevance to the relevance of each input."""


CarryKind = Literal[
    "linear", "sum", "map", "activation", "gate", "divisor", "softmax", "product", "scale"
]


@dataclass
class Note:
    """What a node of the graph is, for those who walk it.

    Args:
        kind: kind of the operation; a divisor is one over something, or a vector's norm; a scale
            is a product with a constant.
        place: place of the operation in the network.
        averages: whether it is a mean of its input.
    """

    kind: CarryKind
    place: CallPlace = field(default_factory=CallPlace)
    averages: bool = False


GATES: tuple[CarryKind, ...] = ("gate", "divisor")
"""What decides how much of something else goes on, the most certain last."""


def carry(
    compute: Callable[..., Tensor],
    spread: Spread,
    note: Note,
    inputs: Sequence[Tensor],
    kept: Sequence[Tensor] = (),
) -> Tensor:
    """Compute an operation; whatever flows back through it is spread over its inputs by a rule.

    Args:
        compute: function from the inputs to the output, perhaps in place on the first.
        spread: the rule.
        note: note that is read by walks over the graph.
        inputs: inputs that get relevance.
        kept: tensors for the rule; changing them in place before it has run is an error.
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


def note_of(node: Any) -> Note | None:
    """Return what is noted at a node, or None at one of torch's own."""
    note = getattr(node, "note", None)
    return note if isinstance(note, Note) else None


def mark_last(logits: Tensor) -> None:
    """Mark the linear operations that give the logits, and the sums between: no activation is.

    Where the output itself is behind an activation, as a unit inside a network may be, they are
    those before that activation.
    """
    if not _mark_last(logits, ("sum", "map")):
        _mark_last(logits, ("sum", "map", "activation", *GATES))


def _mark_last(logits: Tensor, kinds: tuple[str, ...]) -> bool:
    """Mark operations and sums that only such kinds separate from the logits; tell if any is."""
    marked: list[Note] = []

    def goes_on(node: Any) -> bool:
        note = note_of(node)
        if note is None:
            return _plain_name(node) in PLAIN_NODES or _plain_name(node) in MAP_NODES
        if note.kind in ("linear", "sum"):
            note.place.is_last = True
            marked.append(note)
        return note.kind in kinds

    for _ in nodes_behind(
        logits.grad_fn, lambda node: node.next_functions if goes_on(node) else ()
    ):
        pass
    return bool(marked)


def gate_of(tensor: Tensor) -> CarryKind | None:
    """Return which kind of gate a tensor is the output of, perhaps reshaped or scaled since."""
    node: Any = tensor.grad_fn
    while node is not None:
        note = note_of(node)
        if note is not None and note.kind in GATES:
            return note.kind
        if note is not None and note.kind not in ("sum", "map", "scale"):
            return None
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return None
        node = parents[0]
    return None


def is_mean_of(tensor: Tensor, whole: Tensor) -> bool:
    """Tell whether a tensor is the mean of another, perhaps reshaped since."""
    node: Any = tensor.grad_fn
    while node is not None and note_of(node) is None and _plain_name(node) in PLAIN_NODES:
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        node = parents[0] if len(parents) == 1 else None
    note = None if node is None else note_of(node)
    if note is None or not note.averages:
        return False
    ((source, number),) = ((one, at) for one, at in node.next_functions if one is not None)
    if whole.grad_fn is None:
        return getattr(source, "variable", None) is whole
    return source is whole.grad_fn and number == whole.output_nr


def nodes_without_rule(logits: Tensor) -> list[str]:
    """Return the names of torch's functions that relevance went through as a plain gradient."""
    names = {_plain_name(node) for node in nodes_behind(logits.grad_fn) if note_of(node) is None}
    return sorted(names - PLAIN_NODES)


def _plain_name(node: Any) -> str:
    return re.sub(r"Backwards?\d*$", "", type(node).__name__)
