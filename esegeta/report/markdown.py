"""Tables as Markdown, aligned so that they read well as plain text too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from esegeta.report.table import Cell, Table, one_line

ACTIVE = re.compile(r"([\\`*|]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w))")
"""What Markdown would not print as it stands; an underscore within a word it does print."""


def to_markdown(table: Table, *, level: int = 2) -> str:
    """Return a table as Markdown under a heading of this level."""
    grid = [[escape(column) for column in table.columns]]
    grid += [[_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(len(row[place]) for row in grid)) for place in range(len(table.columns))]
    right = table.of_numbers
    rule = ["-" * (width - one) + ":" * one for width, one in zip(widths, right, strict=True)]
    lines = [_line(cells, widths, right) for cells in (grid[0], rule, *grid[1:])]
    parts = [f"{'#' * level} {escape(table.title)}", "\n".join(lines)]
    if table.note:
        parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return a text that Markdown prints as it stands, on one line."""
    return ACTIVE.sub(r"\\\1", one_line(text))


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    if text and cell.best:
        text = f"**{text}**"
    if text and cell.null:
        text = f"*{text}*"
    return f"{text} †" if cell.dagger else text


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    shown = [
        text.rjust(width) if one else text.ljust(width)
        for text, width, one in zip(cells, widths, right, strict=True)
    ]
    return f"| {' | '.join(shown)} |"
