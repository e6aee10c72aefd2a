"""Figures of similarity: tables in colour, curves over networks, scatters of positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from esegeta.report.style import (
    GREY,
    LABEL_COLOURS,
    LINE_COLOURS,
    MUTED,
    new_figure,
    panel_grid,
    save_figure,
    style_panel,
    wrap,
)

COLOURS = "viridis"
UNKNOWN_COLOUR = "#dddddd"
MOST_NUMBERED = 16
"""A table of more layers has no numbers in its cells."""
MOST_COLUMNS = 3
MOST_PANELS = 24
MOST_NAMED = 40
"""A table of more layers names only some of them."""
DASHES = ("-", "--", ":", "-.")
LEGEND_LINE_INCHES = 0.16
MARKS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class Heat:
    """A table in colour.

    Args:
        title: title of the table.
        names: names of rows and columns.
        values: values of the cells; NaN where there is none.
        groups: names of groups of neighbouring rows, each with the number of rows up to its end.
    """

    title: str
    names: Sequence[str]
    values: Sequence[Sequence[float]]
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class LayerPath:
    """A layer over networks: value, low and high at each; None where it is not."""

    name: str
    points: Sequence[tuple[float, float, float] | None]


@dataclass(frozen=True)
class Scatter:
    """A layer's positions and cases: rows with kind, label, pc1, pc2, share1, share2."""

    title: str
    rows: Sequence[Mapping[str, Any]]


def draw_heats(path: Path, heats: Sequence[Heat], title: str) -> None:
    """Write tables in colour as PNG; see `heats_figure`."""
    save_figure(path, heats_figure(heats, title))


def heats_figure(heats: Sequence[Heat], title: str) -> Figure:
    """Return tables in colour side by side, all from 0 to 1; what is unknown is grey.

    Args:
        heats: the tables; those beyond MOST_PANELS are left out and counted.
        title: title of the figure.
    """
    shown, hidden = heats[:MOST_PANELS], len(heats) - MOST_PANELS
    rows, columns = panel_grid(len(shown), MOST_COLUMNS)
    count = max(len(heat.names) for heat in shown)
    longest = max(len(name) for heat in shown for name in heat.names)
    cell, most = (0.36, 9.0) if len(shown) == 1 else (0.22, 4.0)
    room = (1.0 + 0.062 * longest) + min(max(cell * count, 1.6), most)
    figure = new_figure((max(room * columns + 0.9, 5.0), room * rows + 0.6))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    image = None
    numbered = count <= (MOST_NUMBERED if len(shown) == 1 else MOST_NUMBERED // 2)
    for axis, heat in zip(panels, shown, strict=False):
        image = _draw_heat(axis, heat, named=len(shown) > 1, numbered=numbered)
    for axis in panels[len(shown) :]:
        axis.set_axis_off()
    assert image is not None
    bar = figure.colorbar(image, ax=panels, shrink=0.6)
    bar.ax.tick_params(labelsize=7)
    heading = f"{title}\n{hidden} more are in the table" if hidden > 0 else title
    figure.suptitle(wrap(heading, max(room * columns, 4.5), 10), fontsize=10)
    return figure


def _draw_heat(axis: Any, heat: Heat, *, named: bool, numbered: bool) -> Any:
    values = np.array(heat.values, dtype=float)
    count = len(heat.names)
    colours = matplotlib.colormaps[COLOURS].with_extremes(bad=UNKNOWN_COLOUR)
    image = axis.imshow(values, cmap=colours, vmin=0, vmax=1, aspect="equal")
    if numbered:
        for row, column in np.ndindex(count, count):
            if math.isfinite(values[row, column]):
                colour = "black" if values[row, column] > 0.6 else "white"
                text = f"{values[row, column]:.2f}"
                axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    step = -(-count // MOST_NAMED)
    places = range(0, count, step)
    names = [heat.names[place] for place in places]
    size = 7 if count <= 20 else 5
    axis.set_xticks(list(places), names, rotation=60, ha="right", fontsize=size)
    axis.set_yticks(list(places), names, fontsize=size)
    axis.tick_params(length=0)
    start = 0
    for name, end in heat.groups if len(heat.groups) > 1 else ():
        for line in (axis.axhline, axis.axvline):
            if end < count:
                line(end - 0.5, color="white", linewidth=1.5)
        middle = (start + end - 1) / 2
        axis.text(middle, -0.6, name, ha="center", va="bottom", fontsize=7, color=MUTED)
        axis.text(
            count - 0.4, middle, name, ha="left", va="center", rotation=270, fontsize=7, color=MUTED
        )
        start = end
    if named:
        pad = 14 if len(heat.groups) > 1 else 4
        axis.set_title(heat.title, fontsize=8, pad=pad)
    return image


def draw_curves(
    path: Path, networks: Sequence[str], paths: Sequence[LayerPath], title: str
) -> None:
    """Write curves over networks as PNG; see `curves_figure`."""
    save_figure(path, curves_figure(networks, paths, title))


def curves_figure(networks: Sequence[str], paths: Sequence[LayerPath], title: str) -> Figure:
    """Return a curve per layer over networks in their order, with its interval over cases.

    Args:
        networks: names of the networks, such as checkpoints in the order of training.
        paths: one path per layer.
        title: title of the figure.
    """
    width = max(4.5, 1.0 + 0.9 * len(networks))
    # A legend of many layers would be cut by a figure that is lower.
    figure = new_figure((width + 2.2, max(3.6, 0.4 + LEGEND_LINE_INCHES * len(paths))))
    axis = figure.add_subplot()
    for place, path in enumerate(paths):
        turn, colour = divmod(place, len(LINE_COLOURS))
        look: dict[str, Any] = {
            "color": LINE_COLOURS[colour],
            "linestyle": DASHES[turn % len(DASHES)],
        }
        known = [(x, point) for x, point in enumerate(path.points) if point is not None]
        at = [x for x, _ in known]
        value, low, high = (np.array(part) for part in zip(*(p for _, p in known), strict=True))
        axis.plot(
            at, value, marker=MARKS[place % len(MARKS)], markersize=4, label=path.name, **look
        )
        axis.fill_between(at, low, high, color=look["color"], alpha=0.12, linewidth=0)
    axis.set_xticks(range(len(networks)), networks, rotation=30, ha="right", fontsize=8)
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.03)
    style_panel(axis, "y")
    figure.legend(loc="outside right upper", fontsize=7, frameon=False)
    axis.set_title(wrap(title, width - 0.5, 9), fontsize=9)
    return figure


def draw_scatters(path: Path, panels: Sequence[Scatter], labels: Sequence[str], title: str) -> None:
    """Write scatters as PNG; see `scatters_figure`."""
    save_figure(path, scatters_figure(panels, labels, title))


def scatters_figure(panels: Sequence[Scatter], labels: Sequence[str], title: str) -> Figure:
    """Return where positions and cases lie in each layer's plane of most variance.

    Args:
        panels: one panel per layer; those beyond MOST_PANELS are left out and counted.
        labels: names of the labels, which give the colours; the first stands for no label.
        title: title of the figure.
    """
    shown, hidden = panels[:MOST_PANELS], len(panels) - MOST_PANELS
    rows, columns = panel_grid(len(shown), MOST_COLUMNS)
    figure = new_figure((max(2.9 * columns, 4.6), 2.7 * rows + 0.9))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    looks = {label: _look(number) for number, label in enumerate(labels)}
    seen = {row["label"] for panel in shown for row in panel.rows}
    for axis, panel in zip(axes, shown, strict=False):
        _draw_scatter(axis, panel, looks)
    for axis in axes[len(shown) :]:
        axis.set_axis_off()
    handles = [
        Line2D([], [], marker=mark, color=colour, linestyle="", markersize=5, label=label)
        for label, (colour, mark) in looks.items()
        if label in seen
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(len(handles), 2 * columns),
        fontsize=8,
        frameon=False,
    )
    heading = f"{title}\n{hidden} more layers are in the table" if hidden > 0 else title
    figure.suptitle(wrap(heading, max(2.9 * columns, 4.4), 9), fontsize=9)
    return figure


def _look(number: int) -> tuple[str, str]:
    if number == 0:
        return GREY, MARKS[0]
    colours = [colour for colour in LABEL_COLOURS if colour != GREY]
    turn, colour = divmod(number - 1, len(colours))
    return colours[colour], MARKS[turn % len(MARKS)]


def _draw_scatter(axis: Any, panel: Scatter, looks: Mapping[str, tuple[str, str]]) -> None:
    for label, (colour, mark) in looks.items():
        for kind, look in (
            ("position", {"s": 6, "alpha": 0.45, "linewidths": 0}),
            ("case", {"s": 34, "edgecolors": "black", "linewidths": 0.8, "zorder": 3}),
        ):
            own = [row for row in panel.rows if row["label"] == label and row["kind"] == kind]
            x, y = [row["pc1"] for row in own], [row["pc2"] for row in own]
            axis.scatter(x, y, color=colour, marker=mark, **look)
    style_panel(axis, "both")
    axis.tick_params(labelsize=6)
    shares = (panel.rows[0]["share1"], panel.rows[0]["share2"]) if panel.rows else (0.0, 0.0)
    for share, name, put in zip(
        shares, ("PC 1", "PC 2"), (axis.set_xlabel, axis.set_ylabel), strict=True
    ):
        put(f"{name}, {share:.0%} of the variance", fontsize=7)
    axis.set_title(wrap(panel.title, 2.6, 8), fontsize=8)
