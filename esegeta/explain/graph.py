"""The walk over an autograd graph, from its last node back to its leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch.autograd.graph import Node

Edge = tuple[Node | None, int]
"""A node, None where no gradient goes on, and the number of its output."""


def _all_edges(node: Node) -> Iterable[Edge]:
    return node.next_functions


def nodes_behind(
    last: Node | None, edges_taken: Callable[[Node], Iterable[Edge]] = _all_edges
) -> Iterator[Node]:
    """Yield the nodes of a graph from its last one back to its leaves, each once.

    Args:
        last: node; None for a tensor that has no graph.
        edges_taken: of a node, asked for once: the edges on which the walk goes on. All of them
            unless it is given.
    """
    waiting = [last]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting.extend(parent for parent, _ in edges_taken(node))
