"""Figures of the curves behind a score: all methods of a case and target on one axis."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from esegeta.report.csv_tables import CurveRow
from esegeta.report.style import (
    FINE_DPI,
    GREY,
    GROUP_COLOURS,
    MUTED,
    has_comment,
    new_figure,
    panel_grid,
    save_figure,
    style_panel,
    wrap,
)
from esegeta.report.text_tables import number_text

PANELS_A_ROW = 2
PANEL_INCHES = (4.4, 3.3)
LEGEND_LINE_INCHES = 0.18
MOST_LETTERS = 20
PATTERNS = ("-", "--", "-.", ":")
"""Taken in turn once the colours are used up, and by null competitors."""

NULLS_IN_WORDS = "grey, dashed: null competitors, which do not depend on the target"

CUMULATIVE = "halo_cumulative"
WHOLE = 0.995
"""An axis of distances ends where it includes this share of every map."""


def draw_curves(path: Path, rows: Sequence[CurveRow], nulls: Collection[str], title: str) -> None:
    """Write the curves of one score, case and target as PNG; see `curves_figure`."""
    figure = curves_figure(rows, nulls, title)
    save_figure(path, figure, dpi=FINE_DPI, comment=_mark(rows, nulls, title))


def shows_curves(path: Path, rows: Sequence[CurveRow], nulls: Collection[str], title: str) -> bool:
    """Tell whether there is a picture that was drawn of exactly these curves."""
    return has_comment(path, _mark(rows, nulls, title))


def _mark(rows: Sequence[CurveRow], nulls: Collection[str], title: str) -> str:
    return hashlib.sha256(repr((rows, sorted(nulls), title)).encode()).hexdigest()


def curves_figure(rows: Sequence[CurveRow], nulls: Collection[str], title: str) -> Figure:
    """Return a figure with a panel for each kind of curve, and in it a line for each method.

    The legend gives the area under each curve, as a mean over its axis, where the axis is one of
    shares. An axis of distances ends where every map but those of null competitors does.

    Args:
        rows: rows of one score, case and target.
        nulls: methods that are null competitors: grey, and in italics.
        title: title of the figure.
    """
    panels: dict[tuple[str, str, str], list[CurveRow]] = {}
    for row in rows:
        panels.setdefault((row.curve, row.x_label, row.y_label), []).append(row)
    looks = method_looks(list(dict.fromkeys(row.method for row in rows)), nulls)
    num_rows, num_columns = panel_grid(len(panels), PANELS_A_ROW)
    names = 0.8 + 0.075 * (max(len(name) for name in looks) + 8)
    width = (PANEL_INCHES[0] + names) * num_columns
    # A legend that is taller than its panel would squeeze the panel and be cut.
    height = max(PANEL_INCHES[1], LEGEND_LINE_INCHES * (len(looks) + 2))
    figure = new_figure((width, height * num_rows + 0.6))
    axes = figure.subplots(num_rows, num_columns, squeeze=False).flatten()
    end = end_of_mass([row for row in rows if row.method not in nulls] or rows)
    for axis, ((curve, x_label, y_label), lines) in zip(axes, panels.items(), strict=False):
        _draw_lines(axis, lines, looks)
        axis.set_title(curve.replace("_", " "), fontsize=10)
        axis.set_xlabel(x_label, fontsize=8)
        axis.set_ylabel(y_label, fontsize=8)
        if end is not None:
            axis.set_xlim(*end)
            axis.axvline(0, color=MUTED, linewidth=0.7)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    has_areas = any(area_under(row) is not None for row in rows)
    for axis, lines in list(zip(axes, panels.values(), strict=False))[0 if has_areas else -1 :]:
        _draw_legend(axis, lines, nulls)
    heading = f"{title}\n{NULLS_IN_WORDS}" if set(looks) & set(nulls) else title
    figure.suptitle(wrap(heading, width - 0.2, 10), fontsize=10)
    return figure


def method_looks(methods: Sequence[str], nulls: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return colour and pattern of each method's line; null competitors are grey."""
    looks: dict[str, dict[str, Any]] = {}
    real = [method for method in methods if method not in nulls]
    for place, method in enumerate(real):
        turn, colour = divmod(place, len(GROUP_COLOURS))
        pattern = PATTERNS[turn % len(PATTERNS)]
        looks[method] = {"color": GROUP_COLOURS[colour], "linestyle": pattern}
    for place, method in enumerate(method for method in methods if method in nulls):
        pattern = PATTERNS[(place + 1) % len(PATTERNS)]
        looks[method] = {"color": GREY, "linestyle": pattern}
    return looks


def area_under(row: CurveRow) -> float | None:
    """Return the mean height of a curve over its axis; None where the axis is not one of shares."""
    x, y = np.asarray(row.x, dtype=float), np.asarray(row.y, dtype=float)
    if not row.over_shares or row.ticks or not np.isfinite(y).all() or x[-1] == x[0]:
        return None
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def end_of_mass(rows: Sequence[CurveRow]) -> tuple[float, float] | None:
    """Return the distances between which 99.5 % of every map lies; None if there is no halo."""
    ranges = []
    for row in rows:
        held = np.asarray(row.y)
        if row.curve == CUMULATIVE and np.isfinite(held).all():
            first = int(np.searchsorted(held, 1 - WHOLE))
            last = int(np.searchsorted(held, WHOLE))
            step = row.x[1] - row.x[0] if len(row.x) > 1 else 1.0
            ranges.append((row.x[first] - step, row.x[min(last, len(row.x) - 1)]))
    if not ranges:
        return None
    return min(0.0, *(low for low, _ in ranges)), max(0.0, *(high for _, high in ranges))


def _draw_lines(axis: Any, lines: Sequence[CurveRow], looks: dict[str, dict[str, Any]]) -> None:
    for line in lines:
        places = np.arange(len(line.x)) if line.ticks else np.asarray(line.x)
        area = area_under(line)
        name = line.method if area is None else f"{line.method}  AUC {number_text(area)}"
        options = {"linewidth": 1.5, "marker": "o", "markersize": 2.5, **looks[line.method]}
        axis.plot(places, np.asarray(line.y), label=name, **options)
        if line.ticks:
            axis.set_xticks(places, _short_names(line.ticks), rotation=60, ha="right", fontsize=6)
    style_panel(axis, "y" if lines[0].ticks else "both")


def _draw_legend(axis: Any, lines: Sequence[CurveRow], nulls: Collection[str]) -> None:
    legend = axis.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.02))
    for line, text in zip(lines, legend.get_texts(), strict=True):
        if line.method in nulls:
            text.set_style("italic")


def _short_names(ticks: Sequence[str]) -> list[str]:
    """Return the ends of long names, such as those of layers."""
    return [tick if len(tick) <= MOST_LETTERS else f"…{tick[1 - MOST_LETTERS :]}" for tick in ticks]
