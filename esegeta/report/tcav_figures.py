"""Figures of concepts: what each does to a target in each layer, and how much they recover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from esegeta.report.style import (
    BLUE,
    GREY,
    MUTED,
    VERMILION,
    new_figure,
    panel_grid,
    save_figure,
    style_panel,
    wrap,
)

ROW_INCHES = 0.24
PANEL_WIDTH_INCHES = 3.4
NAMES_INCHES = 1.6


@dataclass(frozen=True)
class SizeBar:
    """What a concept does to a target in a layer.

    Args:
        concept: its name.
        layer: its name.
        size: mean derivative; NaN where it is refused.
        low: of its interval.
        high: of its interval.
        null_mean: of random concepts.
        null_spread: their standard deviation.
        significant: whether it holds after Holm.
        note: in a few words, such as the score, or why there is none.
    """

    concept: str
    layer: str
    size: float
    low: float
    high: float
    null_mean: float
    null_spread: float
    significant: bool
    note: str


def draw_sizes(path: Path, bars: Sequence[SizeBar], title: str, unit: str) -> None:
    """Write the sizes of concepts as PNG: a panel a layer, a line a concept.

    Points are sizes, lines their intervals over cases; the grey bar behind each is where 95 % of
    random concepts in the same places would lie.
    """
    layers = list(dict.fromkeys(bar.layer for bar in bars))
    names = list(dict.fromkeys(bar.concept for bar in bars))
    width = NAMES_INCHES + PANEL_WIDTH_INCHES * len(layers)
    heading = wrap(title, width, 10)
    height = 1.25 + ROW_INCHES * len(names) + 0.18 * heading.count("\n")
    figure = new_figure((width, height))
    panels = figure.subplots(1, len(layers), sharey=True, squeeze=False)[0]
    for panel, layer in zip(panels, layers, strict=True):
        own = {bar.concept: bar for bar in bars if bar.layer == layer}
        for place, name in enumerate(names):
            if name in own:
                _draw_bar(panel, place, own[name])
        panel.axvline(0, color=MUTED, linewidth=0.8)
        panel.set_title(wrap(layer, PANEL_WIDTH_INCHES, 9), fontsize=9)
        panel.set_xlabel(wrap(f"change of the target ({unit})", PANEL_WIDTH_INCHES, 8), fontsize=8)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
        panel.xaxis.get_offset_text().set_fontsize(8)
        style_panel(panel, "x")
    panels[0].set_yticks(range(len(names)), names, fontsize=8)
    panels[0].set_ylim(len(names) - 0.4, -0.6)
    figure.suptitle(heading, fontsize=10)
    save_figure(path, figure)


def _draw_bar(axis: Any, place: int, bar: SizeBar) -> None:
    if math.isnan(bar.size):
        axis.annotate(
            bar.note,
            (0.02, place),
            xycoords=("axes fraction", "data"),
            fontsize=7,
            color=MUTED,
            va="center",
        )
        return
    reach = 1.96 * bar.null_spread
    axis.barh(
        place,
        2 * reach,
        left=bar.null_mean - reach,
        height=0.7,
        color=GREY,
        alpha=0.35,
        linewidth=0,
    )
    colour = VERMILION if bar.size > 0 else BLUE
    axis.plot([bar.low, bar.high], [place, place], color=colour, linewidth=1.6)
    axis.plot(
        bar.size,
        place,
        marker="o",
        markersize=5,
        color=colour,
        markerfacecolor=colour if bar.significant else "white",
    )
    axis.annotate(
        bar.note,
        (1.01, place),
        xycoords=("axes fraction", "data"),
        fontsize=7,
        color=MUTED,
        va="center",
    )


@dataclass(frozen=True)
class ShareBars:
    """How much of a label the concepts of a layer recover.

    Args:
        title: layer and target.
        concepts: names.
        values: of each, in Dice.
        nothing: the Dice of a head that sees nothing.
        dice: of a head on all concepts.
        whole: of a head on the whole layer.
        null: Dice of random subspaces.
    """

    title: str
    concepts: Sequence[str]
    values: Sequence[float]
    nothing: float
    dice: float
    whole: float
    null: Sequence[float]


def draw_shares(path: Path, panels: Sequence[ShareBars], title: str) -> None:
    """Write ConceptSHAP as PNG: a panel a layer and target, a bar a concept, end to end."""
    most = max(len(panel.concepts) for panel in panels)
    lines, columns = panel_grid(len(panels), 2)
    titles = [wrap(panel.title, PANEL_WIDTH_INCHES, 8) for panel in panels]
    tallest = max(one.count("\n") for one in titles)
    height = 1.0 + (ROW_INCHES * (most + 1) + 0.6 + 0.15 * tallest) * lines
    width = (NAMES_INCHES + PANEL_WIDTH_INCHES) * columns
    figure = new_figure((width, height))
    axes = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, panel, heading in zip(axes, panels, titles, strict=False):
        _draw_shares_of(axis, panel)
        axis.set_title(heading, fontsize=8)
    figure.supxlabel(
        "Dice with the network's own label on held-out cases: dotted from nothing, solid from the "
        "concepts,\ndashed from the whole layer; grey: 95 % of random subspaces",
        fontsize=8,
    )
    figure.suptitle(wrap(title, width, 10), fontsize=10)
    save_figure(path, figure)


def _draw_shares_of(axis: Any, panel: ShareBars) -> None:
    left = panel.nothing
    for place, value in enumerate(panel.values):
        axis.barh(place, value, left=left, color=VERMILION if value > 0 else BLUE, height=0.7)
        left += value
    last = len(panel.concepts)
    low, high = np.percentile(panel.null, [2.5, 97.5])
    axis.barh(last, high - low, left=low, color=GREY, height=0.7)
    axis.set_yticks(range(last + 1), [*panel.concepts, "random subspaces"], fontsize=8)
    axis.set_ylim(last + 0.6, -0.6)
    axis.set_xlim(0, 1)
    for value, style in ((panel.nothing, ":"), (panel.dice, "-"), (panel.whole, "--")):
        axis.axvline(value, color=MUTED, linestyle=style, linewidth=1)
    style_panel(axis, "x")
