"""Figures of concepts: points where there is a size, reasons where there is none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from esegeta.report.style import BLUE, VERMILION
from esegeta.report.tcav_figures import ShareBars, SizeBar, draw_shares, draw_sizes


def bar(concept: str, layer: str, size: float, *, holds: bool = True, note: str = "") -> SizeBar:
    return SizeBar(concept, layer, size, size - 1, size + 1, 0.0, 0.5, holds, note)


def test_each_layer_has_a_panel_with_its_own_concepts(
    tmp_path: Path, unsaved: list[Figure]
) -> None:
    bars = [
        bar("edge", "first", 2.0, note="0.90"),
        bar("depth", "first", math.nan, note="too few cases"),
        bar("edge", "last", -3.0, holds=False, note="0.20"),
    ]
    draw_sizes(tmp_path / "s.png", bars, "title", "logit")
    first, last = unsaved[0].axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["edge", "depth"]
    assert [text.get_text() for text in first.texts] == ["0.90", "too few cases"]
    assert [text.get_text() for text in last.texts] == ["0.20"]  # no depth in the last layer
    points = {}
    for axis in (first, last):
        (point,) = [line for line in axis.lines if line.get_marker() == "o"]
        points[axis.get_title()] = point
        (reach,) = axis.patches  # 95 % of random concepts: 1.96 of their spread to both sides
        assert (reach.get_x(), reach.get_width()) == (-0.98, 1.96)
    assert [float(point.get_xdata()[0]) for point in points.values()] == [2.0, -3.0]
    assert to_hex(points["first"].get_markerfacecolor()) == VERMILION
    assert to_hex(points["last"].get_color()) == BLUE
    assert points["last"].get_markerfacecolor() == "white"
    assert first.get_xlabel() == "change of the target (logit)"


def test_shapley_bars_are_stacked_from_the_dice_without_concepts(
    tmp_path: Path, unsaved: list[Figure]
) -> None:
    null = np.linspace(0, 0.4, 41).tolist()
    panels = [
        ShareBars(f"layer {k}", ["a", "b"], [0.5, -0.2], 0.1, 0.4, 0.9, null) for k in range(3)
    ]
    draw_shares(tmp_path / "c.png", panels, "title")
    *axes, left_over = unsaved[0].axes
    assert not left_over.axison and all(axis.axison for axis in axes)
    assert [axis.get_title() for axis in axes] == ["layer 0", "layer 1", "layer 2"]
    a, b, null = axes[0].patches
    assert (a.get_x(), a.get_width()) == (0.1, 0.5)
    assert np.allclose((b.get_x(), b.get_width()), (0.6, -0.2))
    assert np.allclose((null.get_x(), null.get_width()), (0.01, 0.38))
    assert (to_hex(a.get_facecolor()), to_hex(b.get_facecolor())) == (VERMILION, BLUE)
    lines = {line.get_linestyle(): float(line.get_xdata()[0]) for line in axes[0].lines}
    assert lines == {":": 0.1, "-": 0.4, "--": 0.9}
