"""Box plots of scores: what is drawn is what was given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from esegeta.report import BoxPage, BoxPanel, draw_boxes
from esegeta.report.boxes import MOST_POINTS


def test_boxes_stand_in_the_row_of_their_method(tmp_path: Path, figures: list[Figure]) -> None:
    values = {("m", "a"): [1.0, 2.0, 3.0], ("m", "null"): [5.0, 7.0], ("n", "a"): [4.0]}
    panels = (BoxPanel("s", "lower", values), BoxPanel("t", "higher", {}))
    page = BoxPage("title", ("m", "n"), ("a", "null"), frozenset({"null"}), panels)
    draw_boxes(tmp_path / "x.png", page)
    assert (tmp_path / "x.png").stat().st_size > 5000
    (figure,) = figures
    left, right = figure.axes
    medians = [line for line in left.lines if line.get_color() == "black"]
    found = {float(np.mean(line.get_ydata())): line.get_xdata()[0] for line in medians}
    assert found == pytest.approx({-0.2: 2.0, 0.8: 6.0})
    points = [line for line in left.lines if line.get_marker() == "." and len(line.get_xdata())]
    drawn = [(x, y) for line in points for x, y in zip(*line.get_data(orig=True), strict=True)]
    expected = [(1.0, -0.2), (2.0, -0.2), (3.0, -0.2), (4.0, 0.2), (5.0, 0.8), (7.0, 0.8)]
    assert np.array(sorted(drawn)) == pytest.approx(np.array(expected))
    assert [label.get_text() for label in left.get_yticklabels()] == ["a", "null"]
    assert [label.get_style() for label in left.get_yticklabels()] == ["normal", "italic"]
    assert left.yaxis_inverted()
    assert (left.get_xlabel(), right.get_xlabel()) == ("← better", "better →")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["m", "n"]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 2.0, 3.0], "linear"),
        ([1e-6, 1.0, 10.0], "log"),
        ([0.0, 1e-6, 1.0, 10.0], "symlog"),
        ([-1.0, 1e-6, 1.0], "linear"),
        ([-1e5, 1e-3, 1.0, 2.0], "symlog"),
        ([0.0, 0.0], "linear"),
    ],
)
def test_axes_are_logarithmic_where_values_need_it(
    values: list[float], scale: str, tmp_path: Path, figures: list[Figure]
) -> None:
    panel = BoxPanel("s", "none", {("m", "a"): values})
    draw_boxes(tmp_path / "x.png", BoxPage("t", ("m",), ("a",), frozenset(), (panel,)))
    assert figures[0].axes[0].get_xscale() == scale
    assert figures[0].legends == []


def test_panels_left_over_in_the_last_row_are_hidden(tmp_path: Path, figures: list[Figure]) -> None:
    panels = tuple(BoxPanel(f"s{n}", "lower", {("m", "a"): [1.0, 2.0]}) for n in range(5))
    draw_boxes(tmp_path / "x.png", BoxPage("t", ("m",), ("a",), frozenset(), panels))
    axes = figures[0].axes
    assert [axis.get_title() for axis in axes if axis.axison] == [f"s{n}" for n in range(5)]
    assert len(axes) == 8


@pytest.mark.parametrize(("count", "num_points"), [(MOST_POINTS, MOST_POINTS), (30, 0)])
def test_points_are_left_out_of_boxes_of_many_values(
    count: int, num_points: int, tmp_path: Path, unsaved: list[Figure]
) -> None:
    panel = BoxPanel("s", "none", {("m", "a"): np.linspace(1, 2, count).tolist()})
    draw_boxes(tmp_path / "x.png", BoxPage("t", ("m",), ("a",), frozenset(), (panel,)))
    points = [line for line in unsaved[0].axes[0].lines if line.get_marker() == "."]
    fliers = [line for line in points if line.get_markersize() == 3]
    drawn = sum(len(line.get_xdata()) for line in points if line not in fliers)
    assert (drawn, len(fliers)) == (num_points, int(not num_points))
