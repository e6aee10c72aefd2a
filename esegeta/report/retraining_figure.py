"""Dice against the fraction of voxels that were removed or kept, a panel a mode and label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esegeta.report.retraining import FIGURE
from esegeta.retraining import DicePoint
from esegeta.volume import atomic_path

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's palette."""

LINES = ("-", "--", "-.", ":")
"""Taken in turn once the colours are used up."""

GREY = "#8c8c8c"
REFERENCE = "reference"
DPI = 130

MODES = {
    "roar": ("ROAR: top k % removed", "removed (%)", "lower is better", 0.0),
    "kar": ("KAR: top k % kept", "kept (%)", "higher is better", 1.0),
}
"""Title, axis, what is good, and the fraction at which images are untouched."""


def draw_retraining(
    root: Path, rows: Sequence[DicePoint], labels: Sequence[str], random: str, title: str
) -> None:
    """Write retrain.png; see `retraining_figure`."""
    figure = retraining_figure(rows, labels, random, title)
    with atomic_path(root / FIGURE) as temporary:
        figure.savefig(temporary, dpi=DPI, facecolor="white")


def retraining_figure(
    rows: Sequence[DicePoint], labels: Sequence[str], random: str, title: str
) -> Figure:
    """Return a figure with a column a mode and a row a label; bands are confidence intervals.

    Every curve ends in the networks of untouched and of empty images, which all methods share;
    dotted lines carry their Dice across.

    Args:
        rows: of summary.csv.
        labels: to be drawn, top down.
        random: id of the random ranking, which is grey.
        title: above all.
    """
    modes = list(dict.fromkeys(row.mode for row in rows))
    figure = Figure(figsize=(4.9 * len(modes) + 2.2, 3.4 * len(labels) + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(labels), len(modes), squeeze=False, sharey="row", sharex="col")
    for line, label in zip(axes, labels, strict=True):
        for axis, mode in zip(line, modes, strict=True):
            chosen = [row for row in rows if row.mode == mode and row.label == label]
            _draw_panel(axis, chosen, mode, random)
        line[0].set_ylabel(f"Dice, {label}" if label != "mean" else "Dice, mean over labels")
    for axis, mode in zip(axes[0], modes, strict=True):
        axis.set_title(f"{MODES[mode][0]} ({MODES[mode][2]})", fontsize=10)
    for axis, mode in zip(axes[-1], modes, strict=True):
        axis.set_xlabel(f"voxels {MODES[mode][1]}")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_panel(axis: Any, rows: Sequence[DicePoint], mode: str, random: str) -> None:
    ends = [row for row in rows if row.method == REFERENCE]
    for end in ends:
        is_untouched = end.fraction == MODES[mode][3]
        axis.axhline(
            end.mean,
            color="#444444" if is_untouched else "#aaaaaa",
            linewidth=0.9,
            linestyle=":",
            label="untouched images" if is_untouched else "empty images",
        )
    methods = list(dict.fromkeys(row.method for row in rows if row.method != REFERENCE))
    methods.sort(key=lambda method: method == random)
    for place, method in enumerate(methods):
        points = sorted(
            [*ends, *(row for row in rows if row.method == method)], key=lambda row: row.fraction
        )
        style = {"color": COLOURS[place % len(COLOURS)]}
        style["linestyle"] = LINES[place // len(COLOURS) % len(LINES)]
        if method == random:
            style = {"color": GREY, "linestyle": "-"}
        _draw_curve(axis, points, method, style)
    axis.set_xlim(-2, 102)
    axis.set_ylim(0, 1)
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_curve(axis: Any, points: Sequence[DicePoint], method: str, style: dict[str, str]) -> None:
    percent = np.array([100 * row.fraction for row in points])
    mean, low, high = (
        np.array([getattr(row, name) for row in points]) for name in ("mean", "low", "high")
    )
    axis.plot(percent, mean, marker="o", markersize=3, linewidth=1.4, label=method, **style)
    axis.fill_between(percent, low, high, color=style["color"], alpha=0.18, linewidth=0)
