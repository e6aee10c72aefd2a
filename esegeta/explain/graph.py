"""The walk over an autograd graph, from its last node back to its leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any


def _all_edges(node: Any) -> Iterable[Any]:
    return node.next_functions  # type: ignore[no-any-return]


def nodes_behind(
    last: object, edges_taken: Callable[[Any], Iterable[Any]] = _all_edges
) -> Iterator[Any]:
    """Yield the nodes of a graph from its last one back to its leaves, each once.

    Args:
        last: node; None for a tensor that has no graph.
        edges_taken: of a node, asked for once: the edges on which the walk goes on, pairs of a
            node and the number of its output. All of them unless it is given.
    """
    waiting: list[Any] = [last]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(parent for parent, _ in edges_taken(node))
