"""How every figure looks: canvas, resolution, palettes, panels, and text that keeps to its room."""

from __future__ import annotations

import io
import re
import struct
import textwrap
import zlib
from pathlib import Path
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 110
FINE_DPI = 130
"""Figures of maps and of curves, which have thin lines and single voxels."""

BACKGROUND = "white"
COMMENT_WITHIN_BYTES = 2048
COMMENT = b"tEXtComment\0"
CROP_INCHES = 0.15
"""Margin around figures that are cut to what is in them."""

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
"""Okabe and Ito's palette, which colour-blind readers can distinguish too."""

GREY = "#999999"

LABEL_COLOURS = (ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE, GREY)
LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
GROUP_COLOURS = (*LINE_COLOURS, BLACK)
"""Tells methods, and categories of concepts, apart."""

CHANNEL_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GREY)
"""In another order than for labels, so that channels and models are not taken for labels."""

MUTED = "#444444"
"""Lines and words that come second."""

DIVERGING = "RdBu_r"
"""Colour map of signed values: red above zero, blue below."""

CHARACTER_EM = 0.65
"""Width of a character of wide lower-case text, as a fraction of the font size."""

POINTS_PER_INCH = 72


class ShownFigure(Figure):
    """A figure that notebooks show as a picture, whether or not they know matplotlib."""

    def _repr_png_(self) -> bytes:
        return png_of(self)


def new_figure(
    size_inches: tuple[float, float], *, layout: Literal["constrained"] | None = "constrained"
) -> Figure:
    """Return an empty figure that can be drawn without a display.

    Args:
        size_inches: width and height of the figure.
        layout: `constrained` to make room for all texts; None where the drawing places them itself.
    """
    figure = ShownFigure(figsize=size_inches, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save_figure(path: Path, figure: Figure, *, dpi: int = DPI, comment: str = "") -> None:
    """Write a figure as PNG; a comment stands at the start of the file, see `has_comment`."""
    metadata = {"Comment": comment} if comment else None
    figure.savefig(path, dpi=dpi, facecolor=BACKGROUND, metadata=metadata)


def png_of(figure: Figure, *, dpi: int = DPI) -> bytes:
    """Return a figure as the content of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor=BACKGROUND)
    return stream.getvalue()


def has_comment(path: Path, comment: str) -> bool:
    """Tell whether there is a whole PNG that was written with this comment, in ASCII."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return _comment_in(content[:COMMENT_WITHIN_BYTES]) == comment and _is_whole(content)


def comment_of(path: Path) -> str:
    """Return the comment of a PNG that `save_figure` has written, or nothing."""
    try:
        with path.open("rb") as stream:
            return _comment_in(stream.read(COMMENT_WITHIN_BYTES))
    except OSError:
        return ""


def _comment_in(head: bytes) -> str:
    place = head.find(COMMENT)
    if place < 4:
        return ""
    length: int = struct.unpack_from(">I", head, place - 4)[0]
    return head[place + len(COMMENT) : place + 4 + length].decode("ascii", "replace")


def _is_whole(content: bytes) -> bool:
    """Tell whether each chunk of a PNG is as its checksum says, to the one that ends it."""
    place = 8
    while len(content) >= place + 12:
        length: int = struct.unpack_from(">I", content, place)[0]
        end = place + 8 + length
        if len(content) < end + 4:
            return False
        told: int = struct.unpack_from(">I", content, end)[0]
        if zlib.crc32(content[place + 4 : end]) != told:
            return False
        if content[place + 4 : place + 8] == b"IEND":
            return len(content) == end + 4
        place = end + 4
    return False


def save_cropped(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, cut or widened to what is in it."""
    figure.savefig(path, dpi=DPI, facecolor=BACKGROUND, bbox_inches="tight", pad_inches=CROP_INCHES)


def panel_grid(num_panels: int, most_columns: int) -> tuple[int, int]:
    """Return the numbers of rows and columns in which panels are laid out, line by line."""
    num_columns = min(num_panels, most_columns)
    return -(-num_panels // num_columns), num_columns


def style_panel(axis: Any, numbered: Literal["x", "y", "both"]) -> None:
    """Open a panel at the top and to the right, and make the numbers of its axes small.

    Args:
        axis: the panel.
        numbered: axes that carry numbers; names on the other axis have a size of their own.
    """
    axis.tick_params(axis=numbered, labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)


class Wrapper(textwrap.TextWrapper):
    """Breaks lines within names, too: after an underscore, dot, dash or slash."""

    wordsep_re = re.compile(r"(\s+|\S*?[_./-](?=[A-Za-z]))")


def wrap(text: str, width_inches: float, points: float) -> str:
    """Return a text with line breaks, so that no line is wider than it may be.

    Args:
        text: the text; line breaks that it already has are kept.
        width_inches: width of the room.
        points: font size.
    """
    columns = max(int(width_inches * POINTS_PER_INCH / (CHARACTER_EM * points)), 8)
    lines = (Wrapper(columns).wrap(line) or [""] for line in text.split("\n"))
    return "\n".join(line for some in lines for line in some)
