"""The picture of trails: trails are in the colours of labels, and long ones fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from esegeta.dissect import TrailEdge, TrailNode, widest_trails
from esegeta.report import draw_trails
from esegeta.report.save import LABEL_COLOURS

LABELS = [TrailNode("(logits)", 3, (k,), f"label{k}", is_label=True) for k in (1, 2)]
NODES = [TrailNode(f"layer{order}", order, (order, 7), "") for order in range(3)]


def edge(source: TrailNode, target: TrailNode, weight: float = 0.9) -> TrailEdge:
    return TrailEdge(source, target, weight, weight, 0.0, 1.0, 1.0, 0.01, 0.02)


def pixels(path: Path, colour: str) -> int:
    picture = imread(path)[..., :3]
    wanted = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=2) < 0.15).sum())


@pytest.mark.parametrize("reached", [0, 1, 2])
def test_trails_have_the_colours_of_their_labels(reached: int, tmp_path: Path) -> None:
    edges = [edge(NODES[0], NODES[1]), edge(NODES[1], NODES[2], 0.4)]
    edges += [edge(NODES[2], label) for label in LABELS[:reached]]
    nodes = [*NODES, *LABELS]
    trails = {label.concept: widest_trails(nodes, edges, label) for label in LABELS}
    path = tmp_path / "trails.png"
    draw_trails(path, nodes, edges, trails, "title")
    for place in range(2):
        # A line in the legend is there in any case; three edges are more.
        assert (pixels(path, LABEL_COLOURS[place]) > 600) == (place < reached)


def test_a_graph_without_edges(tmp_path: Path) -> None:
    path = tmp_path / "trails.png"
    draw_trails(path, [NODES[0], LABELS[0]], [], {"label1": []}, "title")
    assert path.stat().st_size > 0
