"""Box plots of scores: a panel per score, a row per method, a colour per model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Patch

from esegeta.report.style import (
    CHANNEL_COLOURS,
    MUTED,
    new_figure,
    panel_grid,
    save_cropped,
    style_panel,
)

PANELS_A_ROW = 4
WIDEST_RATIO = 1000.0
"""Where magnitudes differ by more than this the axis is logarithmic."""

MOST_POINTS = 24
"""Up to so many values a box, each is drawn as a point too."""

ARROWS = {"lower": "← better", "higher": "better →", "none": "neither is better"}


@dataclass(frozen=True)
class BoxPanel:
    """The values of one score.

    Args:
        score: name of the score.
        better: lower, higher or none.
        values: values of each model and method; a box without values is left empty.
    """

    score: str
    better: str
    values: Mapping[tuple[str, str], Sequence[float]]


@dataclass(frozen=True)
class BoxPage:
    """The panels of one page.

    Args:
        title: title of the page.
        models: names of the models, each with a colour; a single model needs no legend.
        methods: the rows, from the top down.
        nulls: methods that are null competitors, in italics.
        panels: one panel per score.
    """

    title: str
    models: tuple[str, ...]
    methods: tuple[str, ...]
    nulls: frozenset[str]
    panels: tuple[BoxPanel, ...]


def draw_boxes(path: Path, page: BoxPage) -> None:
    """Draw a page as PNG.

    Boxes are quartiles, whiskers reach the last value within 1.5 times the box, and a line goes
    through the median. A method that has one value has a point.
    """
    num_rows, num_columns = panel_grid(len(page.panels), PANELS_A_ROW)
    row_height = 0.9 + len(page.methods) * (0.12 + 0.12 * len(page.models))
    name_width = 0.4 + 0.085 * max(len(name) for name in page.methods)
    figure = new_figure((name_width + 3.3 * num_columns, num_rows * row_height + 0.8))
    axes = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True)
    for axis, panel in zip(axes.flat, page.panels, strict=False):
        _draw_score(axis, panel, page)
    for axis in axes.flat[len(page.panels) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        _name_rows(axis, page)
    if len(page.models) > 1:
        colours = zip(page.models, map(_colour, range(len(page.models))), strict=True)
        handles = [Patch(facecolor=colour, label=name) for name, colour in colours]
        figure.legend(handles=handles, loc="outside upper right", fontsize=9, ncols=len(handles))
    figure.suptitle(page.title, fontsize=12, x=0.01, ha="left")
    save_cropped(path, figure)


def _draw_score(axis: Any, panel: BoxPanel, page: BoxPage) -> None:
    for row in range(0, len(page.methods), 2):
        axis.axhspan(row - 0.5, row + 0.5, color="#f4f4f4", linewidth=0)
    thick = 0.8 / len(page.models)
    for place, model in enumerate(page.models):
        shift = (place - (len(page.models) - 1) / 2) * thick
        found = {
            row + shift: np.asarray(panel.values.get((model, method), ()), dtype=float)
            for row, method in enumerate(page.methods)
        }
        boxes = {height: values for height, values in found.items() if values.size > 1}
        _draw_boxes_at(axis, boxes, thick, _colour(place))
        _draw_points_at(axis, found, _colour(place))
    _scale(axis, np.array([value for values in panel.values.values() for value in values]))
    axis.set_title(panel.score, fontsize=10)
    axis.set_xlabel(ARROWS[panel.better], fontsize=8, color=MUTED)
    style_panel(axis, "x")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines["left"].set_visible(False)


def _draw_boxes_at(axis: Any, boxes: Mapping[float, np.ndarray], thick: float, colour: str) -> None:
    if not boxes:
        return
    axis.boxplot(
        list(boxes.values()),
        positions=list(boxes),
        widths=0.75 * thick,
        orientation="horizontal",
        manage_ticks=False,
        patch_artist=True,
        showfliers=_most(boxes) > MOST_POINTS,
        boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.45},
        medianprops={"color": "black", "linewidth": 1.4},
        whiskerprops={"color": colour},
        capprops={"color": colour},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": colour},
    )


def _draw_points_at(axis: Any, found: Mapping[float, np.ndarray], colour: str) -> None:
    """Draw every value where there are few, and a larger point where it is the only one."""
    single = {height: values for height, values in found.items() if values.size == 1}
    several = {height: values for height, values in found.items() if values.size > 1}
    if _most(several) > MOST_POINTS:
        several = {}
    for some, size in ((single, 9), (several, 4)):
        heights = np.repeat(list(some), [values.size for values in some.values()])
        values = np.concatenate([np.zeros(0), *some.values()])
        axis.plot(values, heights, ".", color=colour, markersize=size, alpha=0.8, zorder=3)


def _most(found: Mapping[float, np.ndarray]) -> int:
    return max((values.size for values in found.values()), default=0)


def _scale(axis: Any, values: np.ndarray) -> None:
    """Make an axis logarithmic where values differ by orders of magnitude."""
    sizes = np.abs(values[values != 0])
    if not sizes.size:
        return
    middle = float(np.median(sizes))
    low = float(np.percentile(sizes, 5, method="lower"))
    high = float(np.percentile(sizes, 95, method="higher"))
    if values.min() < 0:
        if sizes.max() > WIDEST_RATIO * middle:
            axis.set_xscale("symlog", linthresh=middle)
    elif high > WIDEST_RATIO * low:
        if values.min() > 0:
            axis.set_xscale("log")
        else:
            axis.set_xscale("symlog", linthresh=low)


def _name_rows(axis: Any, page: BoxPage) -> None:
    axis.set_yticks(range(len(page.methods)), page.methods, fontsize=8)
    axis.set_ylim(len(page.methods) - 0.4, -0.6)
    for label in axis.get_yticklabels():
        if label.get_text() in page.nulls:
            label.set_style("italic")


def _colour(place: int) -> str:
    return CHANNEL_COLOURS[place % len(CHANNEL_COLOURS)]
