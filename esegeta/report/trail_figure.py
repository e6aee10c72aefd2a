"""The picture of trails: layers from left to right, influences between them, trails in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esegeta.dissect import Trail, TrailEdge, TrailNode
from esegeta.report.save import LABEL_COLOURS

DPI = 110
COLUMN_INCHES, ROW_INCHES = 2.3, 0.85
LARGEST_LINE = 5.0
MOST_UNITS_IN_WORDS = 4
BESIDE_NODE = 0.24
"""Where edges end, in columns from the middle of a node."""

BESIDE = 0.05
"""How far trails that share an edge are drawn beside each other, in rows."""

Spots = Mapping[TrailNode, tuple[float, float]]


def draw_trails(
    path: Path,
    nodes: Sequence[TrailNode],
    edges: Sequence[TrailEdge],
    trails: Mapping[str, Sequence[Trail]],
    title: str,
) -> None:
    """Draw the graph as PNG: grey, every edge; in colour, the widest trail to each label.

    Args:
        path: of the picture.
        nodes: layer by layer, as they run; labels last.
        edges: as wide as their weight.
        trails: to each label, the widest first.
        title: above all.
    """
    spots, layers = _spots(nodes)
    rows = max(sum(node.order == order for node in nodes) for order in layers)
    size = (COLUMN_INCHES * len(layers) + 0.6, ROW_INCHES * rows + 1.6 + 0.22 * len(trails))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    axis.set_axis_off()
    for edge in edges:
        _draw_edge(axis, spots, edge, "#9a9a9a", 0.15 + 0.35 * edge.weight, 0.0)
    handles = []
    for place, (label, found) in enumerate(trails.items()):
        colour = LABEL_COLOURS[place % len(LABEL_COLOURS)]
        offset = BESIDE * (place - (len(trails) - 1) / 2)
        for edge in found[0].edges if found else ():
            _draw_edge(axis, spots, edge, colour, 0.9, offset)
        text = f"{found[0].words}  (width {found[0].width:.2f})" if found else f"{label}: no trail"
        handles.append(Line2D([], [], color=colour, linewidth=3, label=text))
    for node, spot in spots.items():
        _draw_node(axis, node, spot)
    for order, layer in layers.items():
        column = next(spot[0] for node, spot in spots.items() if node.order == order)
        axis.text(column, 0.55, layer, ha="center", va="bottom", fontsize=7, color="#444444")
    axis.set_xlim(-0.55, len(layers) - 0.45)
    axis.set_ylim(-rows + 0.4, 0.8)
    figure.legend(handles=handles, loc="outside lower left", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=DPI, facecolor="white")


def _spots(nodes: Sequence[TrailNode]) -> tuple[Spots, dict[int, str]]:
    """Return where each node is drawn, and the layers by their order."""
    layers = {
        node.order: "labels (logits)" if node.is_label else node.layer
        for node in sorted(nodes, key=lambda node: node.order)
    }
    columns = {order: column for column, order in enumerate(layers)}
    rows = max(sum(node.order == order for node in nodes) for order in layers)
    spots = {}
    for order in layers:
        own = [node for node in nodes if node.order == order]
        for place, node in enumerate(own):
            down = (place + 0.5) * rows / len(own) - 0.5
            spots[node] = (float(columns[order]), -down)
    return spots, layers


def _draw_edge(
    axis: Any, spots: Spots, edge: TrailEdge, colour: str, alpha: float, offset: float
) -> None:
    (left, low), (right, high) = spots[edge.source], spots[edge.target]
    # Edges over several layers bend, so as not to run through the nodes between.
    bend = 0.0 if right - left <= 1 else 0.12 * (1 if high >= low else -1)
    axis.annotate(
        "",
        xy=(right - BESIDE_NODE, high + offset),
        xytext=(left + BESIDE_NODE, low + offset),
        arrowprops={
            "arrowstyle": "-|>",
            "color": colour,
            "alpha": alpha,
            "linewidth": 0.4 + LARGEST_LINE * edge.weight,
            "mutation_scale": 8,
            "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": 0,
            "shrinkB": 0,
        },
    )


def _draw_node(axis: Any, node: TrailNode, spot: tuple[float, float]) -> None:
    text = node.word.replace("_", " ") if node.concept else "no name"
    if not node.is_label:
        shown = ", ".join(str(unit) for unit in node.units[:MOST_UNITS_IN_WORDS])
        more = len(node.units) - MOST_UNITS_IN_WORDS
        text += f"\n[{shown}{f' +{more}' if more > 0 else ''}]"
    box = {
        "boxstyle": "round,pad=0.35",
        "facecolor": "#fff3d6" if node.is_label else "#eef4fb" if node.concept else "white",
        "edgecolor": "#555555",
        "linewidth": 0.8,
    }
    axis.text(*spot, text, ha="center", va="center", fontsize=7, bbox=box)
