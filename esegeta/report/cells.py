"""Cells of tables that people open in a spreadsheet: names in them are text, whatever they say."""

from __future__ import annotations

FORMULA = (*"=+-@＝＋－＠", "\t", "\r", "\n")
"""How cells begin that programs run, or whose rest they do; some take wide signs for plain ones."""
QUOTE = "'"


def safe_cell(name: str) -> str:
    """Return a name as a cell: behind an apostrophe where it would be run.

    `name_in_cell` is the way back.
    """
    return QUOTE + name if name.lstrip(QUOTE).startswith(FORMULA) else name


def name_in_cell(cell: str) -> str:
    """Return a name as it was before it was made safe."""
    return cell[1:] if cell[:1] == QUOTE and cell.lstrip(QUOTE).startswith(FORMULA) else cell


def safe_again(cell: str) -> str:
    """Return a cell of a table that anybody may have written; safe ones and numbers stay."""
    if not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return safe_cell(cell)
    return cell
