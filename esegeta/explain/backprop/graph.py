"""Walks over the graph that a forward pass left."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from esegeta.explain.backprop.carry import Note
from esegeta.explain.backprop.functions import MAP_NODES, PLAIN_NODES


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
        _mark_last(logits, ("sum", "map", "activation", "gate"))


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

    for _ in _walk(logits, goes_on):
        pass
    return bool(marked)


def is_gate(tensor: Tensor) -> bool:
    """Tell whether a tensor is the output of a gate, perhaps reshaped or resampled since."""
    node: Any = tensor.grad_fn
    while node is not None:
        note = note_of(node)
        if note is not None and note.kind in ("gate", "activation", "linear", "product"):
            return note.kind == "gate"
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if len(parents) != 1:
            return False
        node = parents[0]
    return False


def nodes_without_rule(logits: Tensor) -> list[str]:
    """Return the names of torch's functions that relevance went through as a plain gradient."""
    names = {
        _plain_name(node) for node in _walk(logits, lambda node: True) if note_of(node) is None
    }
    return sorted(names - PLAIN_NODES)


def _walk(logits: Tensor, goes_on: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield the nodes behind the logits, each once, on from those where it goes on."""
    waiting: list[Any] = [logits.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if goes_on(node):
            waiting.extend(parent for parent, _ in node.next_functions)


def _plain_name(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", type(node).__name__)
