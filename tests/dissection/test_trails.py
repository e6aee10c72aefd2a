"""Trails through graphs: against all paths one by one, and in words."""

from __future__ import annotations

import itertools
import math

import networkx
import numpy as np
import pytest

from esegeta.dissection.trails import TrailEdge, TrailNode, strongest_trails

LABEL = TrailNode("(logits)", 9, (1,), "bone", is_label=True)


def node(order: int, unit: int = 0, concept: str = "") -> TrailNode:
    return TrailNode(f"layer{order}", order, (unit,), concept)


def edge(source: TrailNode, target: TrailNode, weight: float) -> TrailEdge:
    return TrailEdge(source, target, weight, weight, 0.0, 1.0, 1.0, 0.01, 0.02)


def test_the_strength_of_a_trail_is_the_product_of_its_edges() -> None:
    """A way with one weak edge may be the stronger one, and the label decides as any edge does."""
    a, b, c = node(0), node(1), node(1, 1)
    edges = [edge(a, b, 0.9), edge(b, LABEL, 0.3), edge(a, c, 0.5), edge(c, LABEL, 0.5)]
    (trail,) = strongest_trails([a, b, c, LABEL], edges, LABEL)
    assert trail.nodes == (a, b, LABEL)
    assert (trail.strength, trail.width) == (pytest.approx(0.27), 0.3)


def test_the_longer_of_equally_strong_trails_is_chosen() -> None:
    a, b = node(0), node(1)
    edges = [edge(a, LABEL, 1.0), edge(a, b, 1.0), edge(b, LABEL, 1.0)]
    (trail,) = strongest_trails([a, b, LABEL], edges, LABEL)
    assert trail.nodes == (a, b, LABEL)


@pytest.mark.parametrize("seed", range(8))
def test_the_strongest_trail_equals_a_search_of_all_paths(seed: int) -> None:
    generator = np.random.default_rng(seed)
    nodes = [node(order, unit) for order in range(4) for unit in range(3)] + [LABEL]
    edges = [
        edge(p, q, float(generator.integers(1, 8)) / 8)
        for p, q in itertools.combinations(nodes, 2)
        if p.order < q.order and generator.random() < 0.4
    ]
    graph = networkx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_weighted_edges_from((e.source, e.target, e.weight) for e in edges)
    trails = strongest_trails(nodes, edges, LABEL)
    expected = []
    for start in nodes[:-1]:
        if graph.in_degree(start):
            continue
        paths = [
            [graph.edges[ends]["weight"] for ends in itertools.pairwise(path)]
            for path in networkx.all_simple_paths(graph, start, LABEL)
        ]
        if paths:
            best = max(paths, key=lambda p: (round(math.log(math.prod(p)), 12), len(p)))
            expected.append((math.prod(best), len(best)))
    found = [(trail.strength, len(trail.edges)) for trail in trails]
    assert expected, "the graph has no path: choose another seed"
    assert sorted(found) == [
        (pytest.approx(strength), length) for strength, length in sorted(expected)
    ]
    assert [trail.strength for trail in trails] == sorted((s for s, _ in found), reverse=True)


def test_trails_are_described_in_words() -> None:
    a, b = node(0, 0, "edges"), node(1, 2)
    c, d = node(2, 0, "bone surface"), node(3, 0, "bone surface")
    chain = [a, b, c, d, LABEL]
    edges = [edge(p, q, 0.5) for p, q in itertools.pairwise(chain)]
    (trail,) = strongest_trails(chain, edges, LABEL)
    assert trail.words == "edges -> unit 2 -> bone surface -> bone"
    bone = node(3, 1, "bone")
    (trail,) = strongest_trails([bone, LABEL], [edge(bone, LABEL, 0.5)], LABEL)
    assert trail.words == "bone -> bone"
    assert TrailNode("x", 0, (1, 4)).word == "units 1, 4"
    assert a.name == "layer0[0]" and LABEL.name == "(logits)[1]"


def test_without_an_edge_to_the_label_there_is_no_trail() -> None:
    a, b = node(0), node(1)
    assert strongest_trails([a, b, LABEL], [edge(a, b, 1.0)], LABEL) == []
    assert strongest_trails([a, b, LABEL], [], LABEL) == []
