"""Colours of maps: transparent where a map is small, and never white, so that scans stay visible.

Signed maps are red above zero and blue below, which colour-blind readers tell apart; maps without
sign go from violet to yellow. The opacity says how strong a value is.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from esegeta.report.style import MUTED
from esegeta.report.text_tables import number_text
from esegeta.volume import Display

RED, BLUE = "#d7191c", "#2b7bff"
STRENGTH = "plasma"
STRENGTH_FROM = 0.2
"""Where maps without sign begin in their colour table, whose end is darker than a scan's black."""

OPACITY, RISE = 0.85, 0.7
"""Opacity of the largest values, and the power of the magnitude by which it rises to there."""

BAR_GREYS = (0.12, 0.92)
"""What the two halves of a colour bar show colours on: dark tissue and bright tissue."""

BAR_STEPS = 256


def colours_of(values: np.ndarray, display: Display) -> np.ndarray:
    """Return the colours of a map with their opacity, `*S 4` in 0..1.

    Args:
        values: values of the map, in any shape.
        display: range of magnitudes that are shown.
    """
    magnitude = np.abs(values.astype(np.float64))
    level = np.clip(magnitude / (display.high or 1.0), 0.0, 1.0)
    if display.is_signed:
        hue = np.where((values < 0)[..., None], to_rgb(BLUE), to_rgb(RED))
    else:
        table = matplotlib.colormaps[STRENGTH]
        hue = table(STRENGTH_FROM + (1 - STRENGTH_FROM) * level)[..., :3]
    opacity = np.where(magnitude < display.low, 0.0, OPACITY * level**RISE)
    return np.concatenate([hue, opacity[..., None]], axis=-1)


def over_grey(colours: np.ndarray, grey: float) -> np.ndarray:
    """Return how colours with opacity look over a grey value, `*S 3`."""
    opacity = colours[..., 3:]
    seen: np.ndarray = colours[..., :3] * opacity + grey * (1 - opacity)
    return seen


def draw_bar(
    figure: Figure, box: tuple[float, float, float, float], display: Display, unit: str
) -> None:
    """Draw an upright colour bar: its left half on dark, its right half on bright tissue.

    Args:
        figure: figure to draw in.
        box: left, bottom, width and height in the figure.
        display: range of magnitudes that are shown.
        unit: unit of the values.
    """
    axis = figure.add_axes(box)
    draw_bar_in(axis, display)
    axis.set_ylabel(unit, fontsize=8)


def draw_bar_in(axis: Any, display: Display, *, points: float = 8) -> None:
    """Draw an upright colour bar into axes, with numbers to the right of it."""
    low, high = (-1.0 if display.is_signed else 0.0), 1.0
    values = np.linspace(low, high, BAR_STEPS) * (display.high or 1.0)
    colours = colours_of(values, display)
    halves = np.stack([over_grey(colours, grey) for grey in BAR_GREYS], axis=1)
    axis.imshow(
        halves, origin="lower", extent=(0, 1, low, high), aspect="auto", interpolation="nearest"
    )
    ticks = [low, 0.0, high] if display.is_signed else [low, high]
    axis.set_yticks(ticks, _tick_texts(display), fontsize=points)
    axis.set_xticks([])
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position("right")
    axis.tick_params(length=2, color=MUTED)


def widest_tick(display: Display) -> int:
    """Return how many characters the longest number beside a colour bar has."""
    return max(map(len, _tick_texts(display)))


def _tick_texts(display: Display) -> list[str]:
    values = [0.0, display.high]
    if display.is_signed:
        values.insert(0, -display.high)
    return [number_text(value).replace("-", "−") for value in values]
