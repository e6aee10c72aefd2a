"""Outlines of masks: double lines that are visible on black, on white and in colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke

from esegeta.report.planes import placed

DARK, DARK_EDGE_POINTS = "#111111", 1.3


@dataclass(frozen=True)
class Line:
    """A double line, dark below and light above, visible on black, on white and in colours.

    Args:
        colour: colour of the light line.
        pattern: pattern of the light line, as matplotlib names patterns.
        width: width of the light line, in points.
    """

    colour: str = "white"
    pattern: str = "solid"
    width: float = 1.0

    @property
    def dark_width(self) -> float:
        """Width of the dark line below, in points."""
        return self.width + DARK_EDGE_POINTS

    def handle(self, label: str) -> Line2D:
        """Return the line's entry in a legend."""
        below = [Stroke(linewidth=self.dark_width, foreground=DARK), Normal()]
        line = Line2D([], [], color=self.colour, linestyle=self.pattern, linewidth=self.width)
        line.set(label=label, path_effects=below)
        return line


def draw_outline(axis: Any, mask: np.ndarray, size_mm: tuple[float, float], line: Line) -> None:
    """Draw the edge of a mask, if it has one in this slice.

    Args:
        axis: axis to draw on.
        mask: boolean mask, rows upwards.
        size_mm: size of the slice.
        line: how the edge is drawn.
    """
    if mask.any() and not mask.all() and min(mask.shape) > 1:
        options = {"levels": [0.5], **placed(size_mm)}
        array = mask.astype(float)
        axis.contour(array, colors=DARK, linewidths=line.dark_width, **options)
        light = {"colors": line.colour, "linewidths": line.width, "linestyles": line.pattern}
        axis.contour(array, **light, **options)
