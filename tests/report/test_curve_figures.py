"""Curves of a score: all methods on one axis, their areas, and where an axis ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from esegeta.report import CurveRow
from esegeta.report.curve_figures import (
    PANELS_A_ROW,
    area_under,
    curves_figure,
    end_of_mass,
    method_looks,
)
from esegeta.report.style import GREY
from tests.report.test_csv_tables import CURVES


def curve(method: str, y: tuple[float, ...], name: str = "most first", **more: object) -> CurveRow:
    x = tuple(np.linspace(0, 1, len(y)).tolist())
    label = "share of the image removed"
    row = CurveRow("a", "t", method, "deletion", name, label, "R", x, y, over_shares=True)
    return replace(row, **more)  # type: ignore[arg-type]


def test_all_methods_are_on_one_axis_and_nulls_are_grey_in_italics() -> None:
    rows = [
        curve(method, y, name)
        for method, y in (("saliency", (1.0, 0.0, 0.0)), ("random_map", (1.0, 1.0, 0.0)))
        for name in ("most first", "least first")
    ]
    figure = curves_figure(rows, {"random_map"}, "a: t, deletion")
    most, least = figure.axes
    assert (most.get_title(), least.get_title()) == ("most first", "least first")
    assert len(most.lines) == len(least.lines) == 2
    assert most.lines[0].get_ydata().tolist() == [1.0, 0.0, 0.0]
    texts = most.get_legend().get_texts()
    # By trapezoids of one half each: (1/2 + 0) / 2 and (1 + 1/2) / 2.
    assert [text.get_text() for text in texts] == ["saliency  AUC 0.25", "random_map  AUC 0.75"]
    assert [text.get_style() for text in texts] == ["normal", "italic"]
    assert most.lines[1].get_color() == GREY
    assert "null competitors" in figure.get_suptitle()
    assert "null" not in curves_figure(rows[:1], (), "t").get_suptitle()


def test_the_legend_of_many_methods_lies_within_the_figure_beside_panels_of_full_height() -> None:
    rows = [
        curve(f"method_{number}", (1.0, 0.5, 0.0), name)
        for number in range(30)
        for name in ("most first", "least first")
    ]
    figure = curves_figure(rows, (), "a: t, deletion")
    figure.draw_without_rendering()
    for axis in figure.axes:
        legend = axis.get_legend().get_window_extent()
        assert legend.y0 >= 0 and legend.y1 <= figure.bbox.height
        assert legend.x1 <= figure.bbox.width
        assert axis.bbox.height > 0.5 * figure.bbox.height


def test_areas_are_given_for_axes_of_shares_only() -> None:
    assert area_under(curve("m", (1.0, 0.5))) == 0.75
    assert area_under(curve("m", (1.0, 0.5), x_label="fraction of the image gone")) == 0.75
    assert area_under(curve("m", (1.0, 0.5), over_shares=False)) is None
    assert area_under(curve("m", (1.0, 0.5), ticks=("one", "two"))) is None
    assert area_under(curve("m", (1.0, float("nan")))) is None


def halo(method: str, held: tuple[float, ...]) -> CurveRow:
    x = tuple(5.0 * (place - 1) for place in range(len(held)))
    label = "signed distance to the surface [mm]"
    return CurveRow("a", "t", method, "halo_profile", "halo_cumulative", label, "share", x, held)


def test_an_axis_of_distances_ends_where_the_mass_does() -> None:
    near = halo("saliency", (0.2, 0.6, 0.9, 0.996, 0.999, 1.0, 1.0))
    far = halo("occlusion", (0.0, 0.3, 0.9, 0.95, 0.996, 1.0, 1.0))
    noise = halo("random_map", (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0))
    assert end_of_mass([near]) == (-10.0, 10.0)
    assert end_of_mass([near, far]) == (-10.0, 15.0)
    assert curves_figure([near, noise], {"random_map"}, "t").axes[0].get_xlim() == (-10.0, 10.0)
    assert curves_figure([noise], {"random_map"}, "t").axes[0].get_xlim()[1] == 25.0
    assert end_of_mass([curve("m", (1.0, 0.0))]) is None


def test_layers_are_named_by_their_ends() -> None:
    (axis,) = curves_figure(CURVES[2:], (), "t").axes
    texts = [tick.get_text() for tick in axis.get_xticklabels()]
    assert texts[1] == "model.0"
    assert texts[0].startswith("…")
    assert texts[0].endswith("conv.unit0")
    assert len(texts[0]) == 20


@pytest.mark.parametrize("number", [3, 20])
def test_no_two_methods_look_the_same(number: int) -> None:
    methods = [f"m{place}" for place in range(number)]
    looks = method_looks(methods, {"m0", "m1"})
    assert len({tuple(look.values()) for look in looks.values()}) == number


def test_panels_that_do_not_fill_the_last_row_are_hidden() -> None:
    count = PANELS_A_ROW + 1
    rows = [curve("saliency", (1.0, 0.0), f"curve {number}") for number in range(count)]
    axes = curves_figure(rows, (), "t").axes
    assert [axis.get_title() for axis in axes if axis.get_visible()] == [
        f"curve {number}" for number in range(count)
    ]
    assert len(axes) == 2 * PANELS_A_ROW
