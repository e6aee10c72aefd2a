"""Text that stays within the width of a figure."""

from __future__ import annotations

import re
import textwrap

CHARACTER_EM = 0.65
"""Width of wide lower-case text in matplotlib's font, a character, in units of its size."""

POINTS_PER_INCH = 72


class Wrapper(textwrap.TextWrapper):
    """Breaks lines within names, too: after an underscore, dot, dash or slash."""

    wordsep_re = re.compile(r"(\s+|\S*?[_./-](?=[A-Za-z]))")


def wrap(text: str, width_inches: float, points: float) -> str:
    """Return a text with line breaks, so that no line is wider than it may be.

    Args:
        text: lines that it has already are kept.
        width_inches: of the room.
        points: size of the font.
    """
    columns = max(int(width_inches * POINTS_PER_INCH / (CHARACTER_EM * points)), 8)
    lines = (Wrapper(columns).wrap(line) or [""] for line in text.split("\n"))
    return "\n".join(line for some in lines for line in some)
