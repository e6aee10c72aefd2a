"""Figures of concepts: how many units each layer has for them, and whether those units matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from esegeta.dissection import Effect
from esegeta.report.style import (
    DIVERGING,
    GROUP_COLOURS,
    new_figure,
    save_figure,
    style_panel,
    wrap,
)

ROW_INCHES = 1.15

HATCHES = ("", "////", "....", "xxxx")
"""Taken in turn once the colours are used up."""

MOST_NAMED = 8
"""Concepts without a unit that the title lists."""

UNKNOWN_COLOUR = "#dddddd"

UnitsOfConcepts = Mapping[str, Mapping[str, int]]


def draw_concepts(
    path: Path, counts: UnitsOfConcepts, categories: Mapping[str, str], title: str
) -> None:
    """Write the bars of concepts as PNG; see `concepts_figure`."""
    save_figure(path, concepts_figure(counts, categories, title))


def concepts_figure(counts: UnitsOfConcepts, categories: Mapping[str, str], title: str) -> Figure:
    """Return a figure with bars for how many units of each layer are named for each concept.

    Layers of which no unit is named are left out and counted, and so are concepts that no unit
    is named for.

    Args:
        counts: number of units by layer and concept.
        categories: category of each concept, in the order of the bars.
        title: title of the figure.
    """
    shown = {layer: own for layer, own in counts.items() if any(own.values())}
    found = {concept for own in shown.values() for concept, number in own.items() if number}
    empty = [concept for concept in categories if shown and concept not in found]
    categories = {name: of for name, of in categories.items() if name not in empty}
    room = max(2.0 + 0.42 * len(categories), 4.2)
    # Many layers are put side by side, so that the figure is about as wide as it is high.
    num_columns = max(round(math.sqrt(len(shown) * ROW_INCHES / room)), 1)
    num_rows = max(math.ceil(len(shown) / num_columns), 1)
    width = room * num_columns
    figure = new_figure((width, ROW_INCHES * num_rows + 2.1))
    axes = list(figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).T.flat)
    looks = _looks(categories)
    colours = [looks[category] for category in categories.values()]
    for axis, (layer, own) in zip(axes, shown.items(), strict=False):
        _draw_bars(axis, {concept: own.get(concept, 0) for concept in categories}, colours)
        unique = sum(number > 0 for number in own.values())
        heading = f"{layer}: {sum(own.values())} named, {unique} unique"
        axis.set_title(wrap(heading, room - 0.5, 8), fontsize=8, loc="left")
    if not shown:
        _draw_bars(axes[0], dict.fromkeys(categories, 0), colours)
        axes[0].text(0.5, 0.5, "no unit is named", transform=axes[0].transAxes, ha="center")
    axes[0].set_ylim(0, 1.08 * max(1, *(max(own.values()) for own in counts.values())))
    num_used = max(len(shown), 1)
    for axis in axes[num_used:]:
        axis.set_axis_off()
    lowest = {*axes[num_rows - 1 : num_used : num_rows], axes[num_used - 1]}
    for axis in axes[:num_used]:
        names = list(categories) if axis in lowest else []
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    if len(looks) > 1:
        _draw_legend(figure, looks, width)
    heading = "\n".join((title, *_left_out(len(counts) - len(shown)), *_unnamed(empty)))
    figure.suptitle(wrap(heading, width - 0.2, 10), fontsize=10)
    return figure


def _looks(categories: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return colour and hatch of each category."""
    found = {}
    for place, category in enumerate(dict.fromkeys(categories.values())):
        turn, colour = divmod(place, len(GROUP_COLOURS))
        found[category] = {
            "facecolor": GROUP_COLOURS[colour],
            "hatch": HATCHES[turn % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0,
        }
    return found


def _draw_bars(axis: Any, own: Mapping[str, int], looks: Sequence[Mapping[str, Any]]) -> None:
    for place, (number, look) in enumerate(zip(own.values(), looks, strict=True)):
        axis.bar(place, number, width=0.7, **look)
    axis.set_xlim(-0.6, len(own) - 0.4)
    style_panel(axis, "y")
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel("units", fontsize=8)


def _draw_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]], width: float) -> None:
    longest = max(len(category) for category in looks)
    columns = max(int(width / (0.6 + 0.08 * longest)), 1)
    handles = [Patch(label=category, **look) for category, look in looks.items()]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=min(columns, len(looks)),
        fontsize=8,
        frameon=False,
    )


def _left_out(count: int) -> list[str]:
    """Return the line that says how many layers are not shown, if any."""
    return [f"{count} layer{'s' * (count > 1)} without a named unit"] if count else []


def _unnamed(concepts: Sequence[str]) -> list[str]:
    """Return the line that lists the concepts without a named unit, if there are any."""
    if not concepts:
        return []
    more = len(concepts) - MOST_NAMED
    listed = ", ".join(concepts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return [f"no unit is named for {listed}"]


def draw_effects(path: Path, cells: Sequence[tuple[str, str, Effect]], title: str) -> None:
    """Write the effects of switching units off as PNG; see `effects_figure`."""
    save_figure(path, effects_figure(cells, title))


def effects_figure(cells: Sequence[tuple[str, str, Effect]], title: str) -> Figure:
    """Return the effects of switching units off as a table in colour: blue, Dice is lost.

    Cells are grey where no case has the label.

    Args:
        cells: name of the units, label, effect.
        title: title of the figure.
    """
    rows = list(dict.fromkeys(name for name, _, _ in cells))
    labels = list(dict.fromkeys(label for _, label, _ in cells))
    known = {(name, label): effect for name, label, effect in cells}
    values = np.array([[known[name, label].effect for label in labels] for name in rows])
    peak = max(float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0, 0.05)
    width = 3.2 + 1.25 * len(labels)
    figure = new_figure((width, 1.4 + 0.5 * len(rows)))
    axis = figure.add_subplot()
    colours = matplotlib.colormaps[DIVERGING].with_extremes(bad=UNKNOWN_COLOUR)
    image = axis.imshow(values, cmap=colours, vmin=-peak, vmax=peak, aspect="auto")
    for row, name in enumerate(rows):
        for column, label in enumerate(labels):
            effect = known[name, label]
            dark = abs(effect.effect) > 0.6 * peak
            colour = "white" if dark else "black"
            text = _effect_text(effect)
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    axis.set_xticks(range(len(labels)), labels, fontsize=8)
    axis.set_yticks(range(len(rows)), rows, fontsize=7)
    axis.tick_params(length=0)
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("change of Dice minus\nthat of random units", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    figure.suptitle(wrap(title, width - 0.2, 9), fontsize=9)
    return figure


def _effect_text(effect: Effect) -> str:
    if math.isnan(effect.dice):
        return "no case"
    if math.isnan(effect.effect):
        return "no random\nunits"
    return f"{effect.effect:+.2f}\n[{effect.low:+.2f}, {effect.high:+.2f}]"
