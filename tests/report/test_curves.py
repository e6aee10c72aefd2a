"""Curves of scores as a table and a picture: a line a point, a panel a score and quantity."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from matplotlib.figure import Figure

from esegeta.report import CurveRow, draw_curves, write_curves

ROWS = (
    CurveRow("a", "t", "m", "deletion", "most first", "share", "R", (0.0, 1.0), (1.0, 0.0)),
    CurveRow("a", "t", "m", "deletion", "least first", "share", "R", (0.0, 1.0), (1.0, 0.5)),
    CurveRow(
        "a",
        "t",
        "m",
        "parameter_randomization",
        "spearman",
        "layer",
        "likeness",
        (0.0, 1.0),
        (0.3, math.nan),
        ("model.1.submodule.2.conv.unit0", "model.0"),
    ),
)


def test_the_table_has_a_line_for_each_point(tmp_path: Path) -> None:
    write_curves(tmp_path, ROWS)
    with (tmp_path / "curves.csv").open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert len(found) == 6
    assert found[3] == {
        "case": "a",
        "target": "t",
        "method": "m",
        "score": "deletion",
        "curve": "least first",
        "x": "1.0",
        "y": "0.5",
        "tick": "",
    }
    assert (found[5]["y"], found[5]["tick"]) == ("nan", "model.0")
    write_curves(tmp_path, ())
    assert not (tmp_path / "curves.csv").exists()


def test_the_picture_has_a_panel_for_each_score_and_a_line_for_each_curve(
    tmp_path: Path, figures: list[Figure]
) -> None:
    draw_curves(tmp_path / "c.png", ROWS, "a: t, m")
    first, second = figures[0].axes
    assert first.get_title() == "deletion"
    assert [line.get_label() for line in first.lines] == ["most first", "least first"]
    assert first.lines[1].get_ydata().tolist() == [1.0, 0.5]
    texts = [tick.get_text() for tick in second.get_xticklabels()]
    assert texts[1] == "model.0"
    assert texts[0].startswith("…")
    assert texts[0].endswith("conv.unit0")
    assert len(texts[0]) == 20
    assert (tmp_path / "c.png").stat().st_size > 0
