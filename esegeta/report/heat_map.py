"""A symmetric table of correlations as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 110
MOST_NUMBERED = 40
"""Up to so many rows, cells hold their number."""


@dataclass(frozen=True)
class HeatMap:
    """Correlations between named things.

    Args:
        title: above it.
        names: of rows and columns.
        groups: of each name, in order; lines part one group from the next.
        values: -1 to 1; NaN stays grey.
    """

    title: str
    names: tuple[str, ...]
    groups: tuple[str, ...]
    values: Float[np.ndarray, "names names"]


def draw_heat_map(path: Path, heat_map: HeatMap) -> None:
    """Draw it as PNG: red for agreement, blue for its contrary, grey where undefined."""
    num_names = len(heat_map.names)
    side = max(3.0, 0.36 * num_names)
    margin = 0.5 + 0.085 * max(len(name) for name in heat_map.names)
    figure = Figure(figsize=(side + margin + 1.4, side + margin + 1.0), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.add_subplot()
    axis.set_facecolor("#cccccc")
    picture = axis.imshow(heat_map.values, cmap="RdBu_r", vmin=-1, vmax=1)
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
    figure.savefig(path, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)


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
