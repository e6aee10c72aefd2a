"""Warnings below the picture of a map: a strip that can be drawn anew without the map."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from esegeta.report.style import FINE_DPI, new_figure, png_of, wrap
from esegeta.volume import atomic_path

MOST_WARNINGS = 5
TEXT_POINTS = 9
LINE_INCHES = 0.0195
"""Height of a line of text for each point of its size."""

EMPTY_INCHES, MARGIN_INCHES, ABOVE_INCHES = 0.08, 0.3, 0.12
"""Height of a strip without warnings; what one has beside its lines; how much of that is above."""

STYLE = {"facecolor": "#fff4cc", "edgecolor": "#a06a00", "boxstyle": "round,pad=0.4"}


def strip_text(texts: Sequence[str], width: float) -> str:
    """Return warnings as they stand below a picture of a width in inches; nothing for none."""
    several = list(dict.fromkeys(texts))
    shown = [wrap(f"⚠ {text}", width - 0.8, TEXT_POINTS) for text in several[:MOST_WARNINGS]]
    if len(several) > MOST_WARNINGS:
        shown.append(f"⚠ and {len(several) - MOST_WARNINGS} more, in the sidecar")
    return "\n".join(shown)


def strip_inches(text: str) -> float:
    """Return the height of a strip."""
    return MARGIN_INCHES + height_of(text, TEXT_POINTS) if text else EMPTY_INCHES


def height_of(text: str, points: int) -> float:
    """Return the height of lines of text in inches."""
    return (text.count("\n") + 1) * points * LINE_INCHES


def draw_strip(figure: Figure, text: str, height: float) -> None:
    """Write warnings at the foot of a figure of some height in inches."""
    if not text:
        return
    top = (strip_inches(text) - ABOVE_INCHES) / height
    words = figure.text(0.5, top, text, fontsize=TEXT_POINTS, ha="center", va="top")
    words.set_bbox(STYLE)


def replace_strip(path: Path, before: Sequence[str], after: Sequence[str]) -> None:
    """Replace the warnings in the picture of a map; the rest of it stays as it is.

    Args:
        path: a picture that `draw_overlay` has written; ignored where it is missing or cannot
            be read, since the sidecar says the same.
        before: warnings that it shows now.
        after: warnings that it should show.
    """
    try:
        pixels = matplotlib.image.imread(path)[..., :3]
    except (OSError, SyntaxError):  # the latter is what Pillow raises where it finds no PNG
        return
    width = pixels.shape[1] / FINE_DPI
    rows = pixels.shape[0] - round(FINE_DPI * strip_inches(strip_text(before, width)))
    strip = _strip(strip_text(after, width), width)[:, : pixels.shape[1]]
    missing = pixels.shape[1] - strip.shape[1]
    strip = np.pad(strip, ((0, 0), (0, missing), (0, 0)), mode="edge")
    with atomic_path(path) as temporary:
        whole = np.concatenate([pixels[:rows], strip])
        matplotlib.image.imsave(temporary, np.round(255 * whole).astype(np.uint8), format="png")


def _strip(text: str, width: float) -> np.ndarray:
    height = strip_inches(text)
    figure = new_figure((width, height), layout=None)
    draw_strip(figure, text, height)
    content = io.BytesIO(png_of(figure, dpi=FINE_DPI))
    pixels: np.ndarray = matplotlib.image.imread(content)[..., :3]
    return pixels
