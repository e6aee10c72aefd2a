"""What retraining leaves: every network's Dice, curves with confidence intervals, their figure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from esegeta.report.csv_tables import write_csv
from esegeta.report.style import (
    FINE_DPI,
    GROUP_COLOURS,
    MUTED,
    new_figure,
    save_figure,
    style_panel,
)
from esegeta.retraining import DicePoint, DiceRow
from esegeta.volume import atomic_path

DICE, SUMMARY, FIGURE = "retrain.csv", "summary.csv", "retrain.png"

LINES = ("-", "--", "-.", ":")
"""Taken in turn once the colours are used up."""

RANDOM_COLOUR = "#8c8c8c"
REFERENCE = "reference"

MODES = {
    "roar": ("ROAR: top k % removed", "removed (%)", "lower is better", 0.0),
    "kar": ("KAR: top k % kept", "kept (%)", "higher is better", 1.0),
}
"""Title, axis label, better direction, and the fraction at which images are untouched."""


def write_dice(root: Path, rows: Iterable[DiceRow]) -> None:
    """Write retrain.csv: one Dice per line."""
    write_csv(root / DICE, _columns(DiceRow), (astuple(row) for row in rows))


def write_dice_points(root: Path, rows: Iterable[DicePoint]) -> None:
    """Write summary.csv: one point of a curve per line."""
    write_csv(root / SUMMARY, _columns(DicePoint), (astuple(row) for row in rows))


def remove_retraining(root: Path) -> None:
    """Remove the figure of an earlier run, which this one is about to contradict."""
    (root / FIGURE).unlink(missing_ok=True)


def _columns(kind: type[DiceRow] | type[DicePoint]) -> list[str]:
    return [item.name for item in fields(kind)]


def draw_retraining(
    root: Path, rows: Sequence[DicePoint], labels: Sequence[str], random: str, title: str
) -> None:
    """Write retrain.png; see `retraining_figure`."""
    figure = retraining_figure(rows, labels, random, title)
    with atomic_path(root / FIGURE) as temporary:
        save_figure(temporary, figure, dpi=FINE_DPI)


def retraining_figure(
    rows: Sequence[DicePoint], labels: Sequence[str], random: str, title: str
) -> Figure:
    """Return a figure with a column per mode and a row per label; bands are confidence intervals.

    Every curve ends in the networks of untouched and of empty images, which all methods share;
    dotted lines carry their Dice across.

    Args:
        rows: rows of summary.csv.
        labels: labels to draw, from the top down.
        random: id of the random ranking, which is grey.
        title: title of the figure.
    """
    modes = list(dict.fromkeys(row.mode for row in rows))
    figure = new_figure((4.9 * len(modes) + 2.2, 3.4 * len(labels) + 1.0))
    axes = figure.subplots(len(labels), len(modes), squeeze=False, sharey="row", sharex="col")
    for line, label in zip(axes, labels, strict=True):
        for axis, mode in zip(line, modes, strict=True):
            chosen = [row for row in rows if row.mode == mode and row.label == label]
            _draw_curves(axis, chosen, mode, random)
        line[0].set_ylabel(f"Dice, {label}" if label != "mean" else "Dice, mean over labels")
    for axis, mode in zip(axes[0], modes, strict=True):
        axis.set_title(f"{MODES[mode][0]} ({MODES[mode][2]})", fontsize=10)
    for axis, mode in zip(axes[-1], modes, strict=True):
        axis.set_xlabel(f"voxels {MODES[mode][1]}")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9)
    return figure


def _draw_curves(axis: Any, rows: Sequence[DicePoint], mode: str, random: str) -> None:
    ends = [row for row in rows if row.method == REFERENCE]
    for end in ends:
        is_untouched = end.fraction == MODES[mode][3]
        axis.axhline(
            end.mean,
            color=MUTED if is_untouched else "#aaaaaa",
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
        style = {"color": GROUP_COLOURS[place % len(GROUP_COLOURS)]}
        style["linestyle"] = LINES[place // len(GROUP_COLOURS) % len(LINES)]
        if method == random:
            style = {"color": RANDOM_COLOUR, "linestyle": "-"}
        _draw_curve(axis, points, method, style)
    axis.set_xlim(-2, 102)
    axis.set_ylim(0, 1)
    style_panel(axis, "both")


def _draw_curve(axis: Any, points: Sequence[DicePoint], method: str, style: dict[str, str]) -> None:
    percent = np.array([100 * row.fraction for row in points])
    mean, low, high = (
        np.array([getattr(row, name) for row in points]) for name in ("mean", "low", "high")
    )
    axis.plot(percent, mean, marker="o", markersize=3, linewidth=1.4, label=method, **style)
    axis.fill_between(percent, low, high, color=style["color"], alpha=0.18, linewidth=0)
