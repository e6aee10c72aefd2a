"""Tables as LaTeX in the style of booktabs; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from esegeta.report.table import Cell, Table, one_line

PREAMBLE = """\
% Tables of `esegeta compare`. In the preamble of your document:
% \\usepackage[T1]{fontenc} \\usepackage{booktabs} \\usepackage{graphicx}
"""

ROWS_A_FLOAT = 40
"""A float that is longer than its page is never set well: more rows go on in the next one."""

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "†": r"\textdagger{}",
    "–": "--",
    "×": r"$\times$",
    "α": r"$\alpha$",
    "≥": r"$\geq$",
    "²": r"$^2$",
}
"""What LaTeX would take for a command, and signs of our own that it has none of in text."""

NUMBER = re.compile(r"(?<![\w.])(-?)(\d+(?:\.\d+)?)(?:e(-?\d+))?(?![\w.])")
SMALLER_FROM = 12
"""Rows from which a table is set in smaller type."""


def to_latex(table: Table, *, label: str) -> str:
    """Return a table as one LaTeX float, or several where it is longer than a page.

    What is wider than a line is scaled down to it.

    Args:
        table: what to set.
        label: for `\\ref`, of the first float; letters, digits, colons and hyphens.
    """
    caption = escape(one_line(f"{table.title}. {table.note}"))
    parts = [_float(table, table.rows[:ROWS_A_FLOAT], caption, rf"\label{{{label}}}")]
    for start in range(ROWS_A_FLOAT, len(table.rows), ROWS_A_FLOAT):
        part = table.rows[start : start + ROWS_A_FLOAT]
        parts.append(_float(table, part, rf"{escape(one_line(table.title))} (continued).", ""))
    return "\n".join(parts)


def _float(table: Table, rows: Sequence[tuple[Cell, ...]], caption: str, label: str) -> str:
    heads = [rf"\textbf{{{escape(one_line(column))}}}" for column in table.columns]
    places = "".join("r" if right else "l" for right in table.of_numbers)
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}{label}",
        r"\footnotesize" if len(rows) >= SMALLER_FROM else r"\small",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{places}}}",
        r"\toprule",
        rf"{' & '.join(heads)} \\",
        r"\midrule",
        *(rf"{' & '.join(_cell(cell) for cell in row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Return a text that LaTeX prints as it stands."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _cell(cell: Cell) -> str:
    # A bracket at the start of a row would be read as the argument of the line break above it.
    text = ("{}" if cell.text.startswith("[") else "") + _numbers(one_line(cell.text))
    if text and cell.best:
        text = rf"\textbf{{\boldmath {text}}}"
    if text and cell.null:
        text = rf"\textit{{{text}}}"
    return rf"{text}\textsuperscript{{\textdagger}}" if cell.dagger else text


def _numbers(text: str) -> str:
    """Return an escaped text whose numbers have a minus sign, not a hyphen, and a power of ten."""
    parts, end = [], 0
    for found in NUMBER.finditer(text):
        sign, digits, power = found.groups()
        parts.append(escape(text[end : found.start()]))
        times = rf"\times10^{{{int(power)}}}" if power else ""
        parts.append(f"${sign}{digits}{times}$" if sign or times else digits)
        end = found.end()
    return "".join([*parts, escape(text[end:])])
