"""Figures of ranks: who differs from whom by more than chance, and how scores' ranks agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from esegeta.report.style import BLUE, DIVERGING, GREY, MUTED, new_figure, save_cropped

STEP = 0.24
"""Inches between two names, and between two bars."""

DIFFERENCE_COLOUR = "#b00020"

UNDEFINED_COLOUR = "#cccccc"

MOST_NUMBERED = 40
"""Up to so many rows, cells hold their number."""


@dataclass(frozen=True)
class RankDiagram:
    """Mean ranks of competitors on one score.

    Args:
        title: title of the figure.
        names: names of the competitors, the best first.
        mean_ranks: mean rank of each, ascending.
        nulls: names of null competitors, in italics.
        critical_difference: distance from which on two mean ranks differ.
        cliques: first and last place of each longest run of names that do not differ.
    """

    title: str
    names: tuple[str, ...]
    mean_ranks: tuple[float, ...]
    nulls: frozenset[str]
    critical_difference: float
    cliques: tuple[tuple[int, int], ...]


def draw_rank_diagram(path: Path, diagram: RankDiagram) -> None:
    """Draw it as PNG: the axis above, bars that join what does not differ, then the names.

    The better half of the names stands to the left, the best on top; the rest to the right.
    """
    num_left = -(-len(diagram.names) // 2)
    levels = _levels(diagram)
    depth = 0.35 + STEP * 0.6 * (max(levels, default=-1) + 1)
    height = depth + STEP * num_left
    # The picture is cut to what is in it: names may stand beside the axis, however long.
    figure = new_figure((max(5.0, 0.13 * len(diagram.names)), height + 1.0), layout=None)
    axis = figure.add_axes((0, 0, 1, 1))
    num = len(diagram.names)
    axis.set_xlim(1, num)
    axis.set_ylim(height + 0.1, -0.9)
    axis.set_axis_off()
    _draw_axis(axis, num)
    _draw_difference(axis, diagram)
    for (first, last), level in zip(diagram.cliques, levels, strict=True):
        ends = diagram.mean_ranks[first], diagram.mean_ranks[last]
        place = 0.25 + STEP * 0.6 * level
        wide = 0.004 * (num - 1)
        axis.plot((ends[0] - wide, ends[1] + wide), (place, place), color="black", linewidth=3.5)
    _draw_names(axis, diagram, num_left, depth)
    axis.set_title(diagram.title, fontsize=10)
    save_cropped(path, figure)


def _levels(diagram: RankDiagram) -> list[int]:
    """Return the line on which each bar stands: bars that overlap stand on different ones."""
    levels: list[int] = []
    ends: list[float] = []
    wide = 0.02 * (len(diagram.names) - 1)
    for first, last in diagram.cliques:
        start = diagram.mean_ranks[first] - wide
        free = [level for level, end in enumerate(ends) if end < start]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [diagram.mean_ranks[last] + wide]
        levels.append(level)
    return levels


def _draw_axis(axis: Any, num: int) -> None:
    axis.plot((1, num), (0, 0), color="black", linewidth=1.2, clip_on=False)
    step = max(1, round(num / 10))
    for rank in sorted({1, num, *range(step, num, step)}):
        if rank != num and num - rank < 0.6 * step:
            continue
        axis.plot((rank, rank), (0, -0.08), color="black", linewidth=1.0, clip_on=False)
        axis.text(rank, -0.12, str(rank), ha="center", va="bottom", fontsize=8)
    axis.text(1, -0.34, "best", ha="center", va="bottom", fontsize=7.5, color=MUTED)
    axis.text(num, -0.34, "worst", ha="center", va="bottom", fontsize=7.5, color=MUTED)


def _draw_difference(axis: Any, diagram: RankDiagram) -> None:
    """Draw the critical difference to scale above the axis."""
    length = min(diagram.critical_difference, len(diagram.names) - 1.0)
    start = (len(diagram.names) + 1 - length) / 2
    axis.plot((start, start + length), (-0.55, -0.55), color=DIFFERENCE_COLOUR, linewidth=1.6)
    for end in (start, start + length):
        axis.plot((end, end), (-0.61, -0.49), color=DIFFERENCE_COLOUR, linewidth=1.6)
    text = f"critical difference {diagram.critical_difference:.3g}"
    if length < diagram.critical_difference:
        text += " (longer than the axis)"
    axis.text(
        start + length / 2,
        -0.66,
        text,
        ha="center",
        va="bottom",
        fontsize=8,
        color=DIFFERENCE_COLOUR,
    )


def _draw_names(axis: Any, diagram: RankDiagram, num_left: int, depth: float) -> None:
    num = len(diagram.names)
    gap = 0.02 * (num - 1)
    for place, (name, rank) in enumerate(zip(diagram.names, diagram.mean_ranks, strict=True)):
        left = place < num_left
        row = place if left else num - 1 - place
        height = depth + STEP * (row + 0.5)
        edge = 1 - gap if left else num + gap
        null = name in diagram.nulls
        axis.plot(
            (rank, rank, edge),
            (0, height, height),
            color=GREY if null else BLUE,
            linewidth=0.9,
            clip_on=False,
        )
        text = f"{name}   {rank:.2f}" if left else f"{rank:.2f}   {name}"
        axis.text(
            edge - gap if left else edge + gap,
            height,
            text,
            ha="right" if left else "left",
            va="center",
            fontsize=8.5,
            style="italic" if null else "normal",
        )


@dataclass(frozen=True)
class HeatMap:
    """Correlations between named things.

    Args:
        title: title of the figure.
        names: names of rows and columns.
        groups: group of each name, in order; lines separate the groups.
        values: correlations from -1 to 1; NaN stays grey.
    """

    title: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    values: Float[np.ndarray, "names names"]


def draw_heat_map(path: Path, heat_map: HeatMap) -> None:
    """Draw it as PNG: red for agreement, blue for the opposite, grey where undefined."""
    num_names = len(heat_map.names)
    side = max(3.0, 0.36 * num_names)
    margin = 0.5 + 0.085 * max(len(name) for name in heat_map.names)
    figure = new_figure((side + margin + 1.4, side + margin + 1.0))
    axis = figure.add_subplot()
    axis.set_facecolor(UNDEFINED_COLOUR)
    picture = axis.imshow(heat_map.values, cmap=DIVERGING, vmin=-1, vmax=1)
    axis.set_xticks(range(num_names), heat_map.names, rotation=90, fontsize=8)
    axis.set_yticks(range(num_names), heat_map.names, fontsize=8)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    _part_groups(axis, heat_map)
    if num_names <= MOST_NUMBERED:
        _write_numbers(axis, heat_map.values)
    bar = figure.colorbar(picture, ax=axis, shrink=0.6, pad=0.02)
    bar.set_label("Spearman's rho", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(heat_map.title, fontsize=9)
    save_cropped(path, figure)


def _part_groups(axis: Any, heat_map: HeatMap) -> None:
    for place, (one, next_) in enumerate(zip(heat_map.groups, heat_map.groups[1:], strict=False)):
        if one != next_:
            axis.axhline(place + 0.5, color="black", linewidth=1.2)
            axis.axvline(place + 0.5, color="black", linewidth=1.2)


def _write_numbers(axis: Any, values: np.ndarray) -> None:
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        value = float(values[row, column])
        colour = "white" if abs(value) > 0.65 else "black"
        text = f"{value:.2f}".replace("0.", ".")
        axis.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
