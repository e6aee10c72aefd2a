"""Trails as a picture and as a graph that other programs read; where boxes and edges go."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.transforms import Affine2D

from esegeta.dissection import Trail, TrailEdge, TrailNode
from esegeta.report.style import LABEL_COLOURS, MUTED, new_figure, save_figure, wrap
from esegeta.volume import write_text

LARGEST_LINE = 5.0
MOST_UNITS_IN_WORDS = 4
BESIDE_INCHES = 0.055
"""Distance between trails that share an edge; smaller where there are many."""

EDGE_COLOUR = "#8a8a8a"
EDGE_IN_WORDS = (
    "An arrow means: when the units of the box at its tail are switched off, the units of the box "
    "at its head change, and they change where those at the tail were active. The wider the arrow, "
    "the more the tail tells about the head (weight, 0 to 1); the strength of a path is the "
    "product of its weights. An arrow past a column skips that layer, as a skip connection does. "
    "Numbers in brackets: units of the layer."
)
NODE_POINTS, LAYER_POINTS, LEGEND_POINTS, TITLE_POINTS = 7, 7, 8, 10
LINE_INCHES = 0.019
"""Height of a line of text for each point of its size."""

BOX_INCHES = 1.5
COLUMN_INCHES = 2.6
LANE_INCHES = 0.5
"""Room between two boxes above each other, where edges pass that skip the layer."""

SPREAD_INCHES = 0.4 * LANE_INCHES
"""What edges in one lane, and trails beside each other, may each take up of it."""

LARGEST_STEP_INCHES = 0.1
"""Between edges in one lane."""

PointOnPage = tuple[float, float]


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
        nodes: nodes layer by layer, in the order they run; labels last.
        edges: edges, drawn as wide as their weight.
        trails: trails to each label, the strongest first.
        title: title of the figure.
    """
    texts = {node: _node_text(node) for node in nodes}
    tallest = max(text.count("\n") + 1 for text in texts.values())
    board = lay_board(nodes, tallest * NODE_POINTS * LINE_INCHES + 0.12)
    width, height = board.size
    headings = [wrap(layer, COLUMN_INCHES - 0.1, LAYER_POINTS) for layer in board.layers]
    words = [wrap(_trail_text(*item), width - 0.6, LEGEND_POINTS) for item in trails.items()]
    meaning = wrap(EDGE_IN_WORDS, width - 0.4, LEGEND_POINTS)
    title = wrap(title, width - 0.2, TITLE_POINTS)
    above = _inches([max(headings, key=lambda text: text.count("\n"))], LAYER_POINTS) + 0.1
    explained = _inches([meaning], LEGEND_POINTS) + 0.15
    below, top = (
        _inches(words, LEGEND_POINTS) + 0.2 + explained,
        _inches([title], TITLE_POINTS) + 0.1,
    )
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
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, explained / total),
        fontsize=LEGEND_POINTS,
        frameon=False,
    )
    spot = (0.12 / width, 0.1 / total)
    figure.text(*spot, meaning, va="bottom", fontsize=LEGEND_POINTS, color=MUTED)
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
        f"strongest path to {label}: {found[0].words}  (strength {found[0].strength:.2g})"
        if found
        else f"{label}: no path"
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
    board: BoxLayout,
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


def _draw_node(axis: Any, node: TrailNode, board: BoxLayout, text: str) -> None:
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
    """Write a directed graph as GraphML; every number of an edge is an attribute."""
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


@dataclass(frozen=True)
class BoxLayout:
    """Boxes of one size in columns, in inches from the lower left corner.

    Args:
        spots: middle of each node's box.
        layers: names of the columns, from the left.
        box_height: height of every box.
        num_rows: number of boxes in the fullest column.
    """

    spots: Mapping[TrailNode, PointOnPage]
    layers: Sequence[str]
    box_height: float
    num_rows: int

    @property
    def size(self) -> PointOnPage:
        """Width and height of columns and lanes."""
        row = self.box_height + LANE_INCHES
        return COLUMN_INCHES * len(self.layers), row * self.num_rows + LANE_INCHES

    def column(self, node: TrailNode) -> int:
        """Return the number of a node's column."""
        return int(self.spots[node][0] / COLUMN_INCHES)

    def lanes(self, column: int) -> list[float]:
        """Return the heights at which edges pass a column: above, below and between its boxes."""
        own = sorted(y for x, y in self.spots.values() if int(x / COLUMN_INCHES) == column)
        beyond = (self.box_height + LANE_INCHES) / 2
        between = [(low + high) / 2 for low, high in itertools.pairwise(own)]
        return [own[0] - beyond, *between, own[-1] + beyond]


def lay_board(nodes: Sequence[TrailNode], box_height: float) -> BoxLayout:
    """Return where each node is drawn: layers from left to right, nodes from above.

    Args:
        nodes: nodes of all layers and labels.
        box_height: height of a box, in inches.
    """
    layers = {
        node.order: "labels (logits)" if node.is_label else node.layer
        for node in sorted(nodes, key=lambda node: node.order)
    }
    by_layer = {order: [node for node in nodes if node.order == order] for order in layers}
    num_rows = max(len(own) for own in by_layer.values())
    row = box_height + LANE_INCHES
    spots = {}
    for column, own in enumerate(by_layer.values()):
        for place, node in enumerate(own):
            up = num_rows - (place + 0.5) * num_rows / len(own)
            spots[node] = ((column + 0.5) * COLUMN_INCHES, up * row + LANE_INCHES / 2)
    return BoxLayout(spots, list(layers.values()), box_height, num_rows)


def routes(
    board: BoxLayout, edges: Sequence[TrailEdge]
) -> dict[tuple[TrailNode, TrailNode], Curve]:
    """Return the curve of each edge, from the right side of a box to the left side of another.

    An edge that skips layers passes their columns in the lane that is nearest to the straight
    way, level, and bends only between columns: it never meets a box that it does not visit. Edges
    in one lane run beside each other.

    Args:
        board: the boxes.
        edges: edges of the graph.
    """
    passages: dict[tuple[int, float], list[tuple[float, TrailEdge]]] = defaultdict(list)
    for edge in edges:
        (left, low), (right, high) = board.spots[edge.source], board.spots[edge.target]
        first, last = board.column(edge.source), board.column(edge.target)
        for column in range(first + 1, last):
            part = ((column + 0.5) * COLUMN_INCHES - left) / (right - left)
            straight = low + part * (high - low)
            lane = min(board.lanes(column), key=lambda height: abs(height - straight))
            passages[column, lane].append((straight, edge))
    heights: dict[TrailEdge, dict[int, float]] = {edge: {} for edge in edges}
    for (column, lane), passing in passages.items():
        passing.sort(key=lambda item: item[0])
        step = min(SPREAD_INCHES / len(passing), LARGEST_STEP_INCHES)
        for place, (_, edge) in enumerate(passing):
            heights[edge][column] = lane + (place - (len(passing) - 1) / 2) * step
    return {(edge.source, edge.target): _curve(board, edge, heights[edge]) for edge in edges}


def _curve(board: BoxLayout, edge: TrailEdge, heights: Mapping[int, float]) -> Curve:
    """Return level lines along columns with bends between them."""
    half = BOX_INCHES / 2
    (left, low), (right, high) = board.spots[edge.source], board.spots[edge.target]
    points, codes = [(left + half, low)], [Curve.MOVETO]

    def bend_to(x: float, y: float) -> None:
        start, from_y = points[-1]
        middle = (start + x) / 2
        points.extend([(middle, from_y), (middle, y), (x, y)])
        codes.extend([Curve.CURVE4] * 3)

    for column, height in sorted(heights.items()):
        middle = (column + 0.5) * COLUMN_INCHES
        bend_to(middle - half, height)
        points.append((middle + half, height))
        codes.append(Curve.LINETO)
    bend_to(right - half, high)
    return Curve(points, codes)
