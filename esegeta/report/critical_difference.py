"""The diagram of mean ranks: who differs from whom by more than chance would have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 110
STEP = 0.24
"""Inches between two names, and between two bars."""


@dataclass(frozen=True)
class RankDiagram:
    """Mean ranks of competitors on one score.

    Args:
        title: above it.
        names: of the competitors, the best first.
        mean_ranks: of each, ascending.
        nulls: names of null competitors, in italics.
        critical_difference: mean ranks that lie this far apart differ.
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
    figure = Figure(figsize=(max(5.0, 0.13 * len(diagram.names)), height + 1.0))
    FigureCanvasAgg(figure)
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
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)


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
    axis.text(1, -0.34, "best", ha="center", va="bottom", fontsize=7.5, color="#444444")
    axis.text(num, -0.34, "worst", ha="center", va="bottom", fontsize=7.5, color="#444444")


def _draw_difference(axis: Any, diagram: RankDiagram) -> None:
    """Draw the critical difference to scale above the axis."""
    length = min(diagram.critical_difference, len(diagram.names) - 1.0)
    start = (len(diagram.names) + 1 - length) / 2
    axis.plot((start, start + length), (-0.55, -0.55), color="#b00020", linewidth=1.6)
    for end in (start, start + length):
        axis.plot((end, end), (-0.61, -0.49), color="#b00020", linewidth=1.6)
    text = f"critical difference {diagram.critical_difference:.3g}"
    if length < diagram.critical_difference:
        text += " (longer than the axis)"
    axis.text(
        start + length / 2, -0.66, text, ha="center", va="bottom", fontsize=8, color="#b00020"
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
            color="#999999" if null else "#0072b2",
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
