"""Trails: the strongest ways through a graph of influences, from the input to a label."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
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
    def strength(self) -> float:
        """Product of the weights."""
        return math.prod(edge.weight for edge in self.edges)

    @property
    def width(self) -> float:
        """Weight of the weakest edge."""
        return min(edge.weight for edge in self.edges)

    @property
    def words(self) -> str:
        """The nodes' words, of neighbours with the same word one; the label is always the last."""
        words = [word for word, _ in itertools.groupby(node.word for node in self.nodes[:-1])]
        return ARROW.join([*words, self.nodes[-1].word])


def strongest_trails(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], label: TrailNode
) -> list[Trail]:
    """Return the strongest trail to a label from each node that no edge enters, strongest first.

    Edges are direct effects, and a trail is as strong as the product of its weights. Of trails
    that are equally strong the one with most nodes is taken. Nodes from which the label cannot be
    reached have none.

    Args:
        nodes: of the graph, layer by layer as they run.
        edges: from earlier layers to later ones.
        label: where trails end.

    Source: Wright, Annals of Mathematical Statistics 5 (1934): an effect along a path is the
    product of the coefficients on it. Here they are weights in 0..1, without a sign.
    """
    entered = {edge.target for edge in edges}
    routes = _strongest_routes(nodes, edges, label)
    starts = [node for node in nodes if node not in entered and routes.get(node)]
    return sorted((Trail(routes[node]) for node in starts), key=lambda trail: -trail.strength)


def _strongest_routes(
    nodes: Sequence[TrailNode], edges: Sequence[TrailEdge], label: TrailNode
) -> dict[TrailNode, tuple[TrailEdge, ...]]:
    """Return the strongest way to a label from each node that has one."""
    outgoing: dict[TrailNode, list[TrailEdge]] = {}
    for edge in edges:
        outgoing.setdefault(edge.source, []).append(edge)
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
    return {node: route for node, (_, _, route) in best.items()}
