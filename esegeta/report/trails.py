"""Trails as a picture and as a graph that other programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.transforms import Affine2D

from esegeta.dissection import Trail, TrailEdge, TrailNode
from esegeta.report.style import LABEL_COLOURS, MUTED, new_figure, save_figure, wrap
from esegeta.report.trail_routes import (
    BOX_INCHES,
    COLUMN_INCHES,
    SPREAD_INCHES,
    Board,
    lay_board,
    routes,
)
from esegeta.volume import write_text

LARGEST_LINE = 5.0
MOST_UNITS_IN_WORDS = 4
BESIDE_INCHES = 0.055
"""How far trails that share an edge are drawn beside each other; less where they are many."""

EDGE_COLOUR = "#9a9a9a"
NODE_POINTS, LAYER_POINTS, LEGEND_POINTS, TITLE_POINTS = 7, 7, 8, 10
LINE_INCHES = 0.019
"""Height of a line of text for each point of its size."""


def draw_trails(
    path: Path,
    nodes: Sequence[TrailNode],
    edges: Sequence[TrailEdge],
    trails: Mapping[str, Sequence[Trail]],
    title: str,
) -> None:
    """Write the picture of trails as PNG; see `trails_figure`."""
    save_figure(path, trails_figure(nodes, edges, trails, title))


def trails_figure(
    nodes: Sequence[TrailNode],
    edges: Sequence[TrailEdge],
    trails: Mapping[str, Sequence[Trail]],
    title: str,
) -> Figure:
    """Return the graph as a figure: grey, every edge; in colour, the strongest trail to each label.

    Args:
        nodes: layer by layer, as they run; labels last.
        edges: as wide as their weight.
        trails: to each label, the strongest first.
        title: above all.
    """
    texts = {node: _node_text(node) for node in nodes}
    tallest = max(text.count("\n") + 1 for text in texts.values())
    board = lay_board(nodes, tallest * NODE_POINTS * LINE_INCHES + 0.12)
    width, height = board.size
    headings = [wrap(layer, COLUMN_INCHES - 0.1, LAYER_POINTS) for layer in board.layers]
    words = [wrap(_trail_text(*item), width - 0.6, LEGEND_POINTS) for item in trails.items()]
    title = wrap(title, width - 0.2, TITLE_POINTS)
    above = _inches([max(headings, key=lambda text: text.count("\n"))], LAYER_POINTS) + 0.1
    below, top = _inches(words, LEGEND_POINTS) + 0.2, _inches([title], TITLE_POINTS) + 0.1
    total = below + height + above + top
    figure = new_figure((width, total), layout=None)
    # One unit of the axis is one inch, so that boxes, texts and lanes keep to their sizes.
    axis = figure.add_axes((0, below / total, 1, (height + above) / total))
    axis.set_axis_off()
    axis.set_xlim(0, width)
    axis.set_ylim(0, height + above)
    _draw_edges(axis, board, edges, trails)
    for node, text in texts.items():
        _draw_node(axis, node, board, text)
    for column, heading in enumerate(headings):
        spot = ((column + 0.5) * COLUMN_INCHES, height)
        axis.text(*spot, heading, ha="center", va="bottom", fontsize=LAYER_POINTS, color=MUTED)
    handles = [
        Line2D([], [], color=_colour(place), linewidth=3, label=text)
        for place, text in enumerate(words)
    ]
    figure.legend(handles=handles, loc="lower left", fontsize=LEGEND_POINTS, frameon=False)
    figure.suptitle(title, fontsize=TITLE_POINTS, y=1 - 0.1 / total, va="top")
    return figure


def _inches(texts: Sequence[str], points: float) -> float:
    """Return the height of texts above each other."""
    lines = sum(text.count("\n") + 1 for text in texts)
    return lines * points * LINE_INCHES + 0.05 * len(texts)


def _colour(place: int) -> str:
    return LABEL_COLOURS[place % len(LABEL_COLOURS)]


def _trail_text(label: str, found: Sequence[Trail]) -> str:
    return (
        f"{found[0].words}  (strength {found[0].strength:.2g})" if found else f"{label}: no trail"
    )


def _node_text(node: TrailNode) -> str:
    name = node.concept.replace("_", " ") or "no name"
    if node.is_label:
        return wrap(f"label: {name}", BOX_INCHES, NODE_POINTS)
    shown = ", ".join(str(unit) for unit in node.units[:MOST_UNITS_IN_WORDS])
    more = len(node.units) - MOST_UNITS_IN_WORDS
    units = f"[{shown}{f' +{more}' if more > 0 else ''}]"
    return wrap(f"{name}\n{units}", BOX_INCHES, NODE_POINTS)


def _draw_edges(
    axis: Any,
    board: Board,
    edges: Sequence[TrailEdge],
    trails: Mapping[str, Sequence[Trail]],
) -> None:
    curves = routes(board, edges)
    for edge in edges:
        curve = curves[edge.source, edge.target]
        _draw_edge(axis, curve, edge, EDGE_COLOUR, 0.15 + 0.35 * edge.weight)
    step = min(BESIDE_INCHES, SPREAD_INCHES / max(len(trails), 1))
    for place, found in enumerate(trails.values()):
        offset = step * ((len(trails) - 1) / 2 - place)
        for edge in found[0].edges if found else ():
            curve = curves[edge.source, edge.target]
            beside = curve.transformed(Affine2D().translate(0.0, offset))
            _draw_edge(axis, beside, edge, _colour(place), 0.9)


def _draw_edge(axis: Any, curve: Curve, edge: TrailEdge, colour: str, alpha: float) -> None:
    linewidth = 0.4 + LARGEST_LINE * edge.weight
    arrow = FancyArrowPatch(
        path=curve,
        arrowstyle="-|>",
        color=colour,
        alpha=alpha,
        linewidth=linewidth,
        mutation_scale=7 + 2 * linewidth,
        fill=True,
        capstyle="butt",
        joinstyle="miter",
        shrinkA=0,
        shrinkB=0,
    )
    axis.add_patch(arrow)


def _draw_node(axis: Any, node: TrailNode, board: Board, text: str) -> None:
    x, y = board.spots[node]
    box = FancyBboxPatch(
        (x - BOX_INCHES / 2, y - board.box_height / 2),
        BOX_INCHES,
        board.box_height,
        boxstyle="round,pad=0,rounding_size=0.05",
        facecolor="#fff3d6" if node.is_label else "#eef4fb" if node.concept else "white",
        edgecolor="#555555",
        linewidth=0.8,
        zorder=3,
    )
    axis.add_patch(box)
    axis.text(x, y, text, ha="center", va="center", fontsize=NODE_POINTS, zorder=4)


def write_graphml(path: Path, nodes: Sequence[TrailNode], edges: Sequence[TrailEdge]) -> None:
    """Write a directed graph as GraphML; every number of its edges is an attribute of them."""
    import networkx

    graph = networkx.DiGraph(id="trails")
    for node in nodes:
        graph.add_node(node.name, **_facts_of_node(node))
    for edge in edges:
        graph.add_edge(edge.source.name, edge.target.name, **_facts_of_edge(edge))
    lines = networkx.generate_graphml(graph, named_key_ids=True)
    write_text(path, "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', *lines, ""]))


def _facts_of_node(node: TrailNode) -> dict[str, str | int | float | bool]:
    return {
        "label": node.word,
        "layer": node.layer,
        "order": node.order,
        "units": " ".join(str(unit) for unit in node.units),
        "is_label": node.is_label,
    }


def _facts_of_edge(edge: TrailEdge) -> dict[str, str | int | float | bool]:
    return {name: value for name, value in vars(edge).items() if name not in ("source", "target")}
