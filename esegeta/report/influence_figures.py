"""Figures of influence: which examples raise and lower a target, and what leaving them out did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from esegeta.report.style import (
    BLUE,
    FINE_DPI,
    GREY,
    MUTED,
    VERMILION,
    new_figure,
    panel_grid,
    save_figure,
    style_panel,
    wrap,
)
from esegeta.volume import atomic_path

INFLUENCE, SELF_INFLUENCE = "influence.png", "self_influence.png"
LEFT_OUT = "leave_one_out.png"
MOST_BARS, MOST_PANELS = 8, 12
WIDTH_INCHES = 3.6


@dataclass(frozen=True, eq=False)
class InfluencePanel:
    """What each example does to one target, by one method."""

    question: str
    method: str
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class LeftOutPanel:
    """An estimate of influence beside what leaving each example out did.

    Args:
        question: case and target.
        method: of the estimate.
        checkpoints: `retrained`, of the trainings that are compared, or `given` by the config.
        estimated: by example.
        measured: target with all examples minus without the example, by example.
        agreement: number of examples, rank correlation, and its p.
    """

    question: str
    method: str
    checkpoints: str
    estimated: Mapping[str, float]
    measured: Mapping[str, float]
    agreement: tuple[int, float, float]


def remove_influence(root: Path) -> None:
    """Remove the figures of an earlier run, which this one may contradict."""
    for name in (INFLUENCE, SELF_INFLUENCE, LEFT_OUT):
        (root / name).unlink(missing_ok=True)


def draw_influence(root: Path, title: str, panels: Sequence[InfluencePanel]) -> None:
    """Write influence.png: the examples that raise and lower each target most."""
    shown = panels[:MOST_PANELS]
    figure, axes = _grid(title, len(shown), 2.6)
    for axis, panel in zip(axes, shown, strict=True):
        order = sorted(panel.values, key=lambda name: panel.values[name])
        few = order if len(order) <= 2 * MOST_BARS else order[:MOST_BARS] + order[-MOST_BARS:]
        values = [panel.values[name] for name in few]
        colours = [BLUE if value < 0 else VERMILION for value in values]
        axis.barh(range(len(few)), values, color=colours, height=0.7)
        axis.set_yticks(range(len(few)), few, fontsize=7)
        axis.axvline(0, color=MUTED, linewidth=0.8)
        axis.set_title(wrap(f"{panel.question}: {panel.method}", WIDTH_INCHES, 8), fontsize=8)
        axis.set_xlabel("lowers the target | raises it", fontsize=7)
        style_panel(axis, "x")
        axis.tick_params(axis="x", labelsize=7)
    _save(root / INFLUENCE, figure)


def draw_self_influence(root: Path, title: str, values: Mapping[str, float]) -> None:
    """Write self_influence.png: examples in the order in which they should be looked at."""
    figure = new_figure((6.4, 3.4))
    axis = figure.subplots()
    order = sorted(values, key=lambda name: -values[name])
    numbers = [values[name] for name in order]
    axis.bar(range(len(order)), numbers, color=GREY, width=0.8)
    named = order[:MOST_BARS] if len(order) > 3 * MOST_BARS else order
    axis.bar(range(len(named)), numbers[: len(named)], color=VERMILION, width=0.8)
    axis.set_xticks(range(len(named)), named, rotation=60, ha="right", fontsize=7)
    axis.set_ylabel("sum of rate x |gradient of the loss|²", fontsize=8)
    axis.set_xlabel("training examples; hard or wrongly labelled ones come first", fontsize=8)
    style_panel(axis, "y")
    figure.suptitle(title, fontsize=9)
    _save(root / SELF_INFLUENCE, figure)


def draw_left_out(root: Path, title: str, panels: Sequence[LeftOutPanel]) -> None:
    """Write leave_one_out.png: each estimate against the measured change."""
    shown = panels[:MOST_PANELS]
    figure, axes = _grid(title, len(shown), 2.6)
    for axis, panel in zip(axes, shown, strict=True):
        names = list(panel.measured)
        x = np.array([panel.estimated[name] for name in names])
        y = np.array([panel.measured[name] for name in names])
        axis.axhline(0, color=GREY, linewidth=0.7)
        axis.axvline(0, color=GREY, linewidth=0.7)
        axis.scatter(x, y, s=18, color=BLUE if panel.checkpoints == "retrained" else GREY)
        n, correlation, p = panel.agreement
        head = f"{panel.question}: {panel.method}, {panel.checkpoints} checkpoints"
        text = f"rank correlation {correlation:.2f}, p {p:.2g}, n {n}"
        axis.set_title(wrap(f"{head}\n{text}", WIDTH_INCHES, 8), fontsize=8)
        axis.set_xlabel("estimated influence", fontsize=7)
        axis.set_ylabel("target with all - without it", fontsize=7)
        style_panel(axis, "both")
        axis.tick_params(labelsize=7)
    _save(root / LEFT_OUT, figure)


def _grid(title: str, count: int, height_inches: float) -> tuple[Figure, list[Any]]:
    rows, columns = panel_grid(count, 3)
    figure = new_figure((columns * WIDTH_INCHES + 0.4, rows * height_inches + 0.6))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[count:]:
        axis.set_visible(False)
    figure.suptitle(title, fontsize=9)
    return figure, axes[:count]


def _save(path: Path, figure: Figure) -> None:
    with atomic_path(path) as temporary:
        save_figure(temporary, figure, dpi=FINE_DPI)
