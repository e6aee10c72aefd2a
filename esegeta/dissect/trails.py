"""Trails: the strongest ways through a graph of influences, from the input to a label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ARROW = " -> "


@dataclass(frozen=True)
class TrailNode:
    """Units of a layer that are looked at as one, or the logit of a label.

    Args:
        layer: name of the layer; `(logits)` for a label.
        order: of its layer among all nodes' layers, as they run, from 0.
        units: channels of the layer's output.
        concept: that the units are named for, or the label; empty where they have no name.
        is_label: it is the logit of a label.
    """

    layer: str
    order: int
    units: tuple[int, ...]
    concept: str = ""
    is_label: bool = False

    @property
    def name(self) -> str:
        """Layer and units: unique in a graph."""
        return f"{self.layer}[{','.join(str(unit) for unit in self.units)}]"

    @property
    def word(self) -> str:
        """The concept, or the units where they have none."""
        return self.concept or f"{'unit' if len(self.units) == 1 else 'units'} {self._listed}"

    @property
    def _listed(self) -> str:
        return ", ".join(str(unit) for unit in self.units)


@dataclass(frozen=True)
class TrailEdge:
    """Switching the source off changes the target, by no other node.

    Args:
        source: of an earlier layer.
        target: of a later one.
        weight: information of source and change, beyond chance, in 0..1.
        information: before chance is taken off.
        chance: the information's mean over draws of chance.
        influence: root mean square of the change, in standard deviations of the target.
        correlation: of the source's activation and the change, Pearson's; positive: it excites.
        p: share of draws that reach the information.
        q: p adjusted over all pairs that were looked at.
    """

    source: TrailNode
    target: TrailNode
    weight: float
    information: float
    chance: float
    influence: float
    correlation: float
    p: float
    q: float


@dataclass(frozen=True)
class Trail:
    """A way from a node that no edge enters to a label.

    Args:
        edges: one after the other, at least one.
    """

    edges: tuple[TrailEdge, ...]

    @property
    def nodes(self) -> tuple[TrailNode, ...]:
        """From the first to the label."""
        return (self.edges[0].source, *(edge.target for edge in self.edges))

    @property
    def width(self) -> float:
        """Weight of the weakest edge."""
        return min(edge.weight for edge in self.edges)

    @property
    def product(self) -> float:
        """Product of the weights."""
        return math.prod(edge.weight for edge in self.edges)

    @property
    def words(self) -> str:
        """The nodes' words, of neighbours with the same word one; the label is always the last."""
        words = [word for word, _ in itertools.groupby(node.word for node in self.nodes[:-1])]
        return ARROW.join([*words, self.nodes[-1].word])


def widest_trails(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], label: TrailNode
) -> list[Trail]:
    """Return the widest trail to a label from each node that no edge enters, the widest first.

    A trail is as wide as its weakest edge. Of trails of the same width the one with the largest
    product of weights is taken; of those with the same product, the one with most nodes. Nodes
    from which the label cannot be reached have none.

    Args:
        nodes: of the graph, layer by layer as they run.
        edges: from earlier layers to later ones.
        label: where trails end.

    Source: Pollack, Operations Research 8 (1960): the maximum capacity route.
    """
    entered = {edge.target for edge in edges}
    widths = _widths(nodes, edges, label)
    trails = []
    for node in nodes:
        if node in entered or node not in widths or node == label:
            continue
        wide = [edge for edge in edges if edge.weight >= widths[node]]
        trails.append(_best_route(nodes, wide, node, label))
    return sorted(trails, key=lambda trail: (-trail.width, -trail.product))


def _outgoing(edges: Sequence[TrailEdge]) -> Mapping[TrailNode, list[TrailEdge]]:
    found: dict[TrailNode, list[TrailEdge]] = {}
    for edge in edges:
        found.setdefault(edge.source, []).append(edge)
    return found


def _widths(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], label: TrailNode
) -> dict[TrailNode, float]:
    """Return the width of the widest trail to a label from each node that has one."""
    outgoing = _outgoing(edges)
    widths = {label: math.inf}
    for node in sorted(nodes, key=lambda node: -node.order):
        ways = [
            min(edge.weight, widths[edge.target])
            for edge in outgoing.get(node, [])
            if edge.target in widths
        ]
        if ways:
            widths[node] = max(ways)
    return widths


def _best_route(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], start: TrailNode, label: TrailNode
) -> Trail:
    outgoing = _outgoing(edges)
    # Logarithms are rounded, so that products that differ by rounding alone are the same.
    best: dict[TrailNode, tuple[float, int, tuple[TrailEdge, ...]]] = {label: (0.0, 0, ())}
    for node in sorted(nodes, key=lambda node: -node.order):
        for edge in outgoing.get(node, []):
            if edge.target not in best:
                continue
            total, length, rest = best[edge.target]
            found = (round(total + math.log(edge.weight), 12), length + 1, (edge, *rest))
            if node not in best or found[:2] > best[node][:2]:
                best[node] = found
    return Trail(best[start][2])
