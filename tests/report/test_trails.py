"""Trails: edges go from box to box and around others, and the graph is read back whole."""

from __future__ import annotations

from pathlib import Path

import networkx
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from esegeta.dissection import TrailEdge, TrailNode, strongest_trails
from esegeta.report import draw_trails, write_graphml
from esegeta.report.style import LABEL_COLOURS
from esegeta.report.trails import EDGE_COLOUR, trails_figure

LABELS = [TrailNode("(logits)", 3, (k,), f"label{k}", is_label=True) for k in (1, 2)]
NODES = [TrailNode(f"layer{order}", order, (order, 7), "") for order in range(3)]


def edge(source: TrailNode, target: TrailNode, weight: float = 0.9) -> TrailEdge:
    return TrailEdge(source, target, weight, weight, 0.0, 1.0, 1.0, 0.01, 0.02)


def pixels(path: Path, colour: str) -> int:
    picture = imread(path)[..., :3]
    wanted = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return int((np.abs(picture - wanted).max(axis=2) < 0.15).sum())


@pytest.mark.parametrize("reached", [0, 1, 2])
@pytest.mark.slow
def test_trails_have_the_colours_of_their_labels(reached: int, tmp_path: Path) -> None:
    edges = [edge(NODES[0], NODES[1]), edge(NODES[1], NODES[2], 0.4)]
    edges += [edge(NODES[2], label) for label in LABELS[:reached]]
    nodes = [*NODES, *LABELS]
    trails = {label.concept: strongest_trails(nodes, edges, label) for label in LABELS}
    path = tmp_path / "trails.png"
    draw_trails(path, nodes, edges, trails, "title")
    for place in range(2):
        # A line in the legend is there in any case; three edges are more.
        assert (pixels(path, LABEL_COLOURS[place]) > 600) == (place < reached)


def test_a_graph_without_edges_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "trails.png"
    draw_trails(path, [NODES[0], LABELS[0]], [], {"label1": []}, "title")
    assert path.stat().st_size > 0


def graph(
    columns: tuple[int, ...], *, num_labels: int = 3
) -> tuple[list[TrailNode], list[TrailEdge]]:
    """Return a graph with an edge from every node to every node of all later layers."""
    nodes = [
        TrailNode(f"layer{order}", order, (place, order), "liver" if place else "")
        for order, count in enumerate(columns)
        for place in range(count)
    ]
    last = len(columns)
    labels = [
        TrailNode("(logits)", last, (k,), f"label{k}", is_label=True) for k in range(num_labels)
    ]
    generator = np.random.default_rng(0)
    every = [*nodes, *labels]
    edges = [
        edge(source, target, float(generator.uniform(0.05, 1)))
        for source in nodes
        for target in every
        if source.order < target.order
    ]
    return every, edges


def drawn(nodes: list[TrailNode], edges: list[TrailEdge]) -> Figure:
    trails = {node.concept: strongest_trails(nodes, edges, node) for node in nodes if node.is_label}
    return trails_figure(nodes, edges, trails, "title")


def boxes_of(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Return left, right, lower and upper edge of each node's box."""
    found = [box for box in figure.axes[0].patches if isinstance(box, FancyBboxPatch)]
    return [
        (box.get_x(), box.get_x() + box.get_width(), box.get_y(), box.get_y() + box.get_height())
        for box in found
    ]


def arrows_of(figure: Figure) -> list[FancyArrowPatch]:
    return [arrow for arrow in figure.axes[0].patches if isinstance(arrow, FancyArrowPatch)]


COLUMNS = [(3, 4, 2, 5, 4), (1, 1, 1), (2, 7, 1, 6), (4,)]


@pytest.mark.parametrize("columns", COLUMNS, ids=str)
@pytest.mark.parametrize("num_labels", [1, 4, 9])
def test_edges_go_from_box_to_box_and_around_all_others(
    columns: tuple[int, ...], num_labels: int
) -> None:
    nodes, edges = graph(columns, num_labels=num_labels)
    figure = drawn(nodes, edges)
    boxes = boxes_of(figure)
    assert len(boxes) == len(nodes)
    assert len({round(right - left, 6) for left, right, _, _ in boxes}) == 1
    arrows = arrows_of(figure)
    assert len(arrows) >= len(edges)
    for arrow in arrows:
        points = arrow._path_original.to_polygons(closed_only=False)[0]
        (x0, y0), (x1, y1) = points[0], points[-1]
        assert any(x0 == pytest.approx(right) and low < y0 < high for _, right, low, high in boxes)
        assert any(x1 == pytest.approx(left) and low < y1 < high for left, _, low, high in boxes)
        steps = np.linspace(points[:-1], points[1:], 20, axis=1).reshape(-1, 2)
        reach = arrow.get_linewidth() / 72 / 2
        for left, right, low, high in boxes:
            inside = (steps[:, 0] > left + 1e-6) & (steps[:, 0] < right - 1e-6)
            inside &= (steps[:, 1] > low - reach) & (steps[:, 1] < high + reach)
            assert not inside.any()


def test_trails_that_share_an_edge_lie_beside_each_other() -> None:
    source, middle = NODES[0], NODES[2]
    edges = [edge(source, middle), *(edge(middle, label) for label in LABELS)]
    figure = drawn([*NODES, *LABELS], edges)
    arrows = arrows_of(figure)
    first = {
        to_hex(arrow.get_edgecolor()): arrow._path_original.vertices[0]
        for arrow in arrows
        if arrow._path_original.vertices[0][0] == arrows[0]._path_original.vertices[0][0]
    }
    assert set(first) == {EDGE_COLOUR, *LABEL_COLOURS[:2]}
    assert first[LABEL_COLOURS[0]][1] > first[EDGE_COLOUR][1] > first[LABEL_COLOURS[1]][1]


def test_boxes_and_legend_name_units_and_labels() -> None:
    organ = TrailNode("layer0", 0, tuple(range(6)), "the_liver")
    label = TrailNode("(logits)", 1, (1,), "liver", is_label=True)
    other = TrailNode("(logits)", 1, (2,), "bone", is_label=True)
    found = {"liver": strongest_trails([organ, label], [edge(organ, label)], label), "bone": []}
    figure = trails_figure([organ, label, other], [edge(organ, label)], found, "a title")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[:3] == ["the liver\n[0, 1, 2, 3 +2]", "label: liver", "label: bone"]
    assert texts[3:] == ["layer0", "labels (logits)"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "strongest path to liver: the_liver -> liver  (strength 0.9)",
        "bone: no path",
    ]


def test_the_picture_explains_its_arrows() -> None:
    organ = TrailNode("layer0", 0, (0,), "the_liver")
    label = TrailNode("(logits)", 1, (1,), "liver", is_label=True)
    found = {"liver": strongest_trails([organ, label], [edge(organ, label)], label)}
    figure = trails_figure([organ, label], [edge(organ, label)], found, "a title")
    figure.canvas.draw()
    (text,) = (text for text in figure.texts if text.get_text().startswith("An arrow means"))
    place, legend = text.get_window_extent(), figure.legends[0].get_window_extent()
    assert place.y0 >= 0 and place.y1 <= legend.y0 + 1
    assert place.x0 >= 0 and place.x1 <= figure.bbox.x1


def test_long_names_stay_in_boxes_and_picture() -> None:
    long = "a_name_that_is_much_longer_than_a_box_is_wide"
    nodes = [
        TrailNode(f"model.1.{'submodule.' * 6}conv", 0, tuple(range(100, 109)), long),
        TrailNode("(logits)", 1, (1,), f"{long}_too", is_label=True),
    ]
    edges = [edge(nodes[0], nodes[1])]
    trails = {nodes[1].concept: strongest_trails(nodes, edges, nodes[1])}
    figure = trails_figure(nodes, edges, trails, f"{long * 3}: who influences whom")
    figure.canvas.draw()
    axis = figure.axes[0]
    for text, (left, right, low, high) in zip(axis.texts[:2], boxes_of(figure), strict=True):
        extent = text.get_window_extent().transformed(axis.transData.inverted())
        assert left < extent.x0 < extent.x1 < right
        assert low < extent.y0 < extent.y1 < high
    texts = [*axis.texts, *figure.legends[0].get_texts(), figure._suptitle]  # type: ignore[attr-defined]
    places = [text.get_window_extent() for text in texts]
    assert all(place.x0 >= 0 and place.x1 <= figure.bbox.x1 for place in places)
    legend, title = figure.legends[0].get_window_extent(), places[-1]
    scene = axis.get_window_extent()
    assert legend.y1 <= scene.y0 + 0.15 * figure.dpi
    assert title.y0 >= scene.y1


def test_the_graph_is_read_back_whole(tmp_path: Path) -> None:
    organ = TrailNode("net.<1>", 0, (0, 4), 'the "Bläschen" & <liver>')
    label = TrailNode("(logits)", 1, (1,), "liver", is_label=True)
    alone = TrailNode("net.2", 0, (3,))
    found = TrailEdge(organ, label, 0.1 + 0.2, 5e-324, 0.0, 1e300, -0.5, 1.0, 0.25)
    write_graphml(tmp_path / "g.graphml", [organ, alone, label], [found])
    graph = networkx.read_graphml(tmp_path / "g.graphml")
    assert graph.is_directed()
    assert graph.nodes[organ.name] == {
        "label": organ.concept,
        "layer": "net.<1>",
        "order": 0,
        "units": "0 4",
        "is_label": False,
    }
    assert graph.nodes[label.name]["is_label"] is True
    assert graph.nodes[alone.name]["label"] == "unit 3"
    facts = {name: value for name, value in vars(found).items() if name not in ("source", "target")}
    assert list(graph.edges(data=True)) == [(organ.name, label.name, facts)]
