"""Where the picture of trails has its boxes, and how edges pass between them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.path import Path as Curve

from esegeta.dissection import TrailEdge, TrailNode

BOX_INCHES = 1.5
COLUMN_INCHES = 2.6
LANE_INCHES = 0.5
"""Room between two boxes above each other, where edges pass that skip the layer."""

SPREAD_INCHES = 0.4 * LANE_INCHES
"""What edges in one lane, and trails beside each other, may each take up of it."""

LARGEST_STEP_INCHES = 0.1
"""Between edges in one lane."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Board:
    """Boxes of one size in columns, in inches from the lower left corner.

    Args:
        spots: middle of each node's box.
        layers: names of the columns, from the left.
        box_height: of every box.
        num_rows: boxes in the fullest column.
    """

    spots: Mapping[TrailNode, Point]
    layers: Sequence[str]
    box_height: float
    num_rows: int

    @property
    def size(self) -> Point:
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


def lay_board(nodes: Sequence[TrailNode], box_height: float) -> Board:
    """Return where each node is drawn: layers from left to right, nodes from above.

    Args:
        nodes: of all layers and labels.
        box_height: in inches.
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
    return Board(spots, list(layers.values()), box_height, num_rows)


def routes(board: Board, edges: Sequence[TrailEdge]) -> dict[tuple[TrailNode, TrailNode], Curve]:
    """Return the curve of each edge, from the right side of a box to the left side of another.

    An edge that skips layers passes their columns in the lane that is nearest to the straight
    way, level, and bends only between columns: it never meets a box that it does not visit. Edges
    in one lane run beside each other.

    Args:
        board: the boxes.
        edges: of the graph.
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


def _curve(board: Board, edge: TrailEdge, heights: Mapping[int, float]) -> Curve:
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
