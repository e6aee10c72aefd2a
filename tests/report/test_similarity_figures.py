"""Figures of similarity: what stands in cells, what is left out, which labels are explained."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from esegeta.report.similarity_figures import (
    MOST_PANELS,
    Heat,
    LayerPath,
    Scatter,
    curves_figure,
    draw_heats,
    heats_figure,
    scatters_figure,
)


def texts(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_cells_hold_their_values_and_networks_their_names() -> None:
    values = [[1.0, 0.25, math.nan], [0.25, 1.0, -0.04], [math.nan, -0.04, 1.0]]
    heat = Heat("all", ["a", "b", "c"], values, (("one", 2), ("two", 3)))
    axis, *_ = heats_figure([heat], "title").axes
    assert texts(axis).count("0.25") == 2 and texts(axis).count("-0.04") == 2
    assert texts(axis).count("one") == 2 and texts(axis).count("two") == 2
    assert len([text for text in texts(axis) if text.startswith("1.")]) == 3
    assert axis.images[0].get_clim() == (0, 1)


def test_large_tables_have_no_numbers_and_many_tables_are_counted() -> None:
    size = 20
    heat = Heat("all", [str(k) for k in range(size)], [[0.5] * size] * size)
    figure = heats_figure([heat], "title")
    assert texts(figure.axes[0]) == []
    small = Heat("few", ["a"], [[1.0]])
    figure = heats_figure([small] * (MOST_PANELS + 2), "title")
    assert figure.get_suptitle().endswith("2 more are in the table")


def test_a_curve_leaves_out_networks_without_the_layer() -> None:
    paths = [LayerPath("a", [(0.9, 0.8, 1.0), None, (0.4, 0.3, 0.5)])]
    axis, *_ = curves_figure(["e1", "e2", "e3"], paths, "title").axes
    (line,) = axis.lines
    assert line.get_xdata().tolist() == [0, 2] and line.get_ydata().tolist() == [0.9, 0.4]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["e1", "e2", "e3"]


def test_the_legend_of_many_layers_lies_within_the_figure_and_beside_the_title() -> None:
    point = (0.5, 0.4, 0.6)
    paths = [LayerPath(f"model.1.submodule.{n}", [point, point]) for n in range(40)]
    figure = curves_figure(
        ["e1", "e2"], paths, "a run of some name: cka with the same layer of others"
    )
    figure.draw_without_rendering()
    (legend,), (axis,) = figure.legends, figure.axes
    box = legend.get_window_extent()
    assert box.y0 >= 0 and box.y1 <= figure.bbox.height and box.x1 <= figure.bbox.width
    assert not box.overlaps(axis.title.get_window_extent())


def test_the_legend_lists_only_labels_that_are_drawn() -> None:
    row = {"pc1": 1.0, "pc2": 2.0, "share1": 0.7, "share2": 0.2}
    rows = [{**row, "kind": kind, "label": "liver"} for kind in ("position", "case")]
    figure = scatters_figure([Scatter("a", rows)], ["background", "liver", "spleen"], "title")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["liver"]
    assert figure.axes[0].get_xlabel() == "PC 1, 70% of the variance"


@pytest.mark.slow
def test_a_heat_map_is_saved_as_png(tmp_path: Path) -> None:
    draw_heats(tmp_path / "x.png", [Heat("all", ["a"], [[1.0]])], "title")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_panels_that_do_not_fill_the_last_row_are_empty() -> None:
    heats = [Heat(f"table {number}", ["a"], [[1.0]]) for number in range(4)]
    *panels, _ = heats_figure(heats, "title").axes
    assert [axis.get_title() for axis in panels if axis.axison] == [heat.title for heat in heats]
    row = {"kind": "case", "label": "liver", "pc1": 0.0, "pc2": 1.0, "share1": 0.7, "share2": 0.2}
    scatters = [Scatter(f"layer {number}", [row]) for number in range(4)]
    axes = scatters_figure(scatters, ["liver"], "title").axes
    assert [axis.axison for axis in axes] == [True] * 4 + [False] * 2
