"""Nodes of units, the direct effect of one on a later one, and the strongest paths between them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.dissection.chance import q_values
from esegeta.dissection.information import Bins, dependence

ARROW = " -> "


@dataclass(frozen=True)
class TrailNode:
    """Units of a layer that are treated as one, or the logit of a label.

    Args:
        layer: name of the layer; `(logits)` for a label.
        order: place of its layer among all nodes' layers, in the order they run, from 0.
        units: channels of the layer's output.
        concept: concept that the units are named for, or the label; empty without a name.
        is_label: whether it is the logit of a label.
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
    """An effect of one node on another: switching the source off changes the target directly.

    Args:
        source: node of an earlier layer.
        target: node of a later layer.
        weight: information that source and change share beyond chance, in 0..1.
        information: the same before chance is taken off.
        chance: the information's mean over draws of chance.
        influence: root mean square of the change, in standard deviations of the target.
        correlation: Pearson's, of the source's activation and the change; positive: it excites.
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
    """A path to a label from a node that no edge enters.

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
        """The nodes' words, repeated neighbours merged into one; the label is always the last."""
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
        nodes: nodes of the graph, layer by layer in the order they run.
        edges: edges from earlier layers to later ones.
        label: node where trails end.

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


def cluster_units(values: Float[Tensor, "U N"], count: int) -> list[tuple[int, ...]]:
    """Return groups of units whose activations go together, by the first of their units.

    Agglomerative, with average linkage of the distance 1 - r; r is Pearson's correlation. Units
    that go against each other are as far apart as can be. A unit that does not change is
    correlated with none.

    Args:
        values: activations of each unit at the same positions.
        count: number of groups; that many units or fewer form groups of one.

    Source: Kaufman and Rousseeuw, Finding Groups in Data (1990), chapter 5.
    """
    from scipy.cluster import hierarchy
    from scipy.spatial.distance import squareform

    if len(values) <= count:
        return [(unit,) for unit in range(len(values))]
    centred = values.double().cpu().numpy()
    centred = centred - centred.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    directions = np.divide(centred, lengths, out=np.zeros_like(centred), where=lengths > 0)
    distances = np.clip(1 - directions @ directions.T, 0, 2)
    np.fill_diagonal(distances, 0)
    tree = hierarchy.linkage(squareform(distances, checks=False), method="average")
    groups = hierarchy.cut_tree(tree, n_clusters=count)[:, 0]
    found = [tuple(int(unit) for unit in np.flatnonzero(groups == group)) for group in set(groups)]
    return sorted(found)


RESOLUTION = 1e-5
"""A change of fewer of the target's standard deviations is rounding, and is none."""


@dataclass(frozen=True, eq=False)
class NodeScale:
    """Mean and standard deviation of a node's units over the samples, by which they are added."""

    mean: Float[Tensor, " K"]
    spread: Float[Tensor, " K"]

    @classmethod
    def of(cls, values: Float[Tensor, "K N"]) -> NodeScale:
        """Return the scale of units; one that does not change is not stretched."""
        spread = values.std(dim=1, correction=0)
        return cls(values.mean(dim=1), torch.where(spread > 0, spread, torch.ones_like(spread)))

    def activation(self, values: Float[Tensor, "K *any"]) -> Float[Tensor, "*any"]:
        """Return the activation of the node: the mean of its units, each standardised."""
        column = (-1, *[1] * (values.ndim - 1))
        return ((values - self.mean.view(column)) / self.spread.view(column)).mean(dim=0)

    def change(self, values: Float[Tensor, "K N"]) -> Float[Tensor, " N"]:
        """Return the change of the node's activation, given its units' changes."""
        return (values / self.spread[:, None]).mean(dim=0)


def direct_effect(
    pair: tuple[TrailNode, TrailNode],
    activation: Float[Tensor, " N"],
    change: Float[Tensor, " N"],
    bins: Bins,
    drawn: Int[Tensor, "D N"],
) -> TrailEdge:
    """Return the edge between a source and a target, its q still 1.

    Args:
        pair: source and target.
        activation: activation of the source, in all samples.
        change: change of the target's activation while the source is off.
        bins: bins of the source's activation.
        drawn: bins of the source's activation in each draw of chance.
    """
    # The target's activation has a standard deviation near one: changes are in these.
    change = torch.where(change.abs() > RESOLUTION, change, torch.zeros_like(change))
    codes = Bins.of(change).codes(change)
    found = dependence(bins.codes(activation), codes, drawn)
    influence = float(change.double().square().mean().sqrt())
    return TrailEdge(
        *pair,
        weight=found.weight,
        information=found.information,
        chance=found.chance,
        influence=influence,
        correlation=_correlation(activation.double(), change.double()),
        p=found.p,
        q=1.0,
    )


def _correlation(x: Tensor, y: Tensor) -> float:
    x, y = x - x.mean(), y - y.mean()
    length = float(x.norm() * y.norm())
    return float(x @ y) / length if length else 0.0


def adjust_edges(edges: Sequence[TrailEdge]) -> list[TrailEdge]:
    """Return edges with their p adjusted for all tests that were made (Benjamini-Hochberg)."""
    # A target that does not change at all makes no test: that is the network's doing, not chance.
    p = [edge.p if edge.influence > 0 else math.nan for edge in edges]
    q = q_values(torch.tensor(p, dtype=torch.float64)).nan_to_num(nan=1.0).tolist()
    return [replace(edge, q=value) for edge, value in zip(edges, q, strict=True)]
