"""Curves behind scores: as a table for the whole run, and as a picture of one map's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esegeta.report.tidy import write_csv

CURVES = "curves.csv"
CURVE_COLUMNS = ("case", "target", "method", "score", "curve", "x", "y", "tick")

LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette: most relevant first, least relevant first, and further lines."""

DPI = 130
PANELS_A_ROW = 3
MOST_LETTERS = 20


@dataclass(frozen=True)
class CurveRow:
    """One curve of one map; a line of curves.csv for each of its points."""

    case: str
    target: str
    method: str
    score: str
    curve: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    ticks: tuple[str, ...] = ()


def write_curves(root: Path, rows: Iterable[CurveRow]) -> None:
    """Write curves.csv, a point a line; without a curve there is no such file."""
    points = [
        (row.case, row.target, row.method, row.score, row.curve, x, y, tick)
        for row in rows
        for x, y, tick in zip(row.x, row.y, row.ticks or ("",) * len(row.x), strict=True)
    ]
    if points:
        write_csv(root / CURVES, CURVE_COLUMNS, points)
    else:
        (root / CURVES).unlink(missing_ok=True)


def draw_curves(path: Path, rows: Sequence[CurveRow], title: str) -> None:
    """Draw all curves of one map as PNG, a panel a score and quantity."""
    panels: dict[tuple[str, str, str], list[CurveRow]] = {}
    for row in rows:
        panels.setdefault((row.score, row.x_label, row.y_label), []).append(row)
    num_columns = min(PANELS_A_ROW, len(panels))
    num_rows = -(-len(panels) // num_columns)
    figure = Figure(figsize=(4.3 * num_columns, 3.2 * num_rows + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    for axis, ((score, x_label, y_label), lines) in zip(axes, panels.items(), strict=False):
        _draw_panel(axis, lines)
        axis.set_title(score, fontsize=10)
        axis.set_xlabel(x_label, fontsize=8)
        axis.set_ylabel(y_label, fontsize=8)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=DPI, facecolor="white")


def _short(ticks: Sequence[str]) -> list[str]:
    """Return the ends of long names, such as those of layers."""
    return [tick if len(tick) <= MOST_LETTERS else f"…{tick[1 - MOST_LETTERS :]}" for tick in ticks]


def _draw_panel(axis: Any, lines: Sequence[CurveRow]) -> None:
    for number, line in enumerate(lines):
        colour = LINE_COLOURS[number % len(LINE_COLOURS)]
        places = np.arange(len(line.x)) if line.ticks else np.asarray(line.x)
        options = {"color": colour, "linewidth": 1.4, "marker": "o", "markersize": 2.5}
        axis.plot(places, np.asarray(line.y), label=line.curve, **options)
        if line.ticks:
            axis.set_xticks(places, _short(line.ticks), rotation=60, ha="right", fontsize=6)
    if len(lines) > 1:
        axis.legend(fontsize=7, frameon=False)
    axis.tick_params(axis="y", labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
