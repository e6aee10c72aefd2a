"""Tables as they are read: cells with emphasis, set as Markdown or as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

PLAIN_FROM, PLAIN_TO = 1e-3, 1e5

SMALLEST_P = 1e-4

NUMERIC = re.compile(r"<?-?\d|undefined$")

ACTIVE = re.compile(r"([\\`*|]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w))")
"""What Markdown would not print as it stands; an underscore within a word it does print."""

PREAMBLE = """\
% Tables of `esegeta compare`. In the preamble of your document:
% \\usepackage[T1]{fontenc} \\usepackage{booktabs} \\usepackage{graphicx}
"""

ROWS_A_FLOAT = 40
"""A float longer than its page never sets well, so further rows go into the next one."""

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
"""Characters that LaTeX would take for commands, and signs that it lacks in text."""

NUMBER_IN_TEXT = re.compile(r"(?<![\w.])(-?)(\d+(?:\.\d+)?)(?:e(-?\d+))?(?![\w.])")
SMALLER_FROM = 12
"""Rows from which a table is set in smaller type."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: its content; numbers with a minus sign or an exponent are set as such.
        best: whether it is the best of its column, in bold.
        null: whether it is a null competitor's, in italics.
        dagger: whether it carries a dagger, which the table's note explains.
    """

    text: str
    best: bool = False
    null: bool = False
    dagger: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its title.

    Args:
        title: title of the table.
        columns: column heads; columns of numbers are right-aligned.
        rows: rows, each as long as `columns`.
        note: note below the table.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def of_numbers(self) -> tuple[bool, ...]:
        """Tells for each column whether everything in it begins with a digit."""
        if not self.rows:
            return (False,) * len(self.columns)
        texts = [[cell.text for cell in column] for column in zip(*self.rows, strict=True)]
        return tuple(all(map(NUMERIC.match, filter(None, column))) for column in texts)


def number_text(value: float) -> str:
    """Return a number with three significant digits, with a power of ten only if far from 1."""
    if value != 0 and not PLAIN_FROM <= abs(value) < PLAIN_TO:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}" if power else digits
    return f"{float(f'{value:.3g}'):.10g}"


def p_text(p: float) -> str:
    """Return a p-value; very small ones are beyond what the approximation can tell."""
    return f"{p:.2g}" if p >= SMALLEST_P else f"<{SMALLEST_P:.4f}"


def one_line(text: str) -> str:
    """Return a text without line breaks, which would end a row."""
    return " ".join(text.split())


def to_markdown(table: Table, *, level: int = 2) -> str:
    """Return a table as Markdown under a heading of this level."""
    grid = [[escape(column) for column in table.columns]]
    grid += [[_markdown_cell(cell) for cell in row] for row in table.rows]
    widths = [max(3, *(len(row[place]) for row in grid)) for place in range(len(table.columns))]
    right = table.of_numbers
    rule = ["-" * (width - one) + ":" * one for width, one in zip(widths, right, strict=True)]
    lines = [_markdown_line(cells, widths, right) for cells in (grid[0], rule, *grid[1:])]
    parts = [f"{'#' * level} {escape(table.title)}", "\n".join(lines)]
    if table.note:
        parts.append(table.note)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Return a text that Markdown prints as it stands, on one line."""
    return ACTIVE.sub(r"\\\1", one_line(text))


def _markdown_cell(cell: Cell) -> str:
    text = escape(cell.text)
    if text and cell.best:
        text = f"**{text}**"
    if text and cell.null:
        text = f"*{text}*"
    return f"{text} †" if cell.dagger else text


def _markdown_line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    shown = [
        text.rjust(width) if one else text.ljust(width)
        for text, width, one in zip(cells, widths, right, strict=True)
    ]
    return f"| {' | '.join(shown)} |"


def to_latex(table: Table, *, label: str) -> str:
    """Return a table as one LaTeX float, or several where it is longer than a page.

    What is wider than a line is scaled down to it.

    Args:
        table: table to set.
        label: for `\\ref`, label of the first float; letters, digits, colons and hyphens.
    """
    caption = _escape_latex(one_line(f"{table.title}. {table.note}"))
    parts = [_latex_float(table, table.rows[:ROWS_A_FLOAT], caption, rf"\label{{{label}}}")]
    for start in range(ROWS_A_FLOAT, len(table.rows), ROWS_A_FLOAT):
        part = table.rows[start : start + ROWS_A_FLOAT]
        parts.append(
            _latex_float(table, part, rf"{_escape_latex(one_line(table.title))} (continued).", "")
        )
    return "\n".join(parts)


def _latex_float(table: Table, rows: Sequence[tuple[Cell, ...]], caption: str, label: str) -> str:
    heads = [rf"\textbf{{{_escape_latex(one_line(column))}}}" for column in table.columns]
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
        *(rf"{' & '.join(_latex_cell(cell) for cell in row)} \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _escape_latex(text: str) -> str:
    """Return a text that LaTeX prints as it stands."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _latex_cell(cell: Cell) -> str:
    # A bracket at the start of a row would be read as the argument of the line break above it.
    text = ("{}" if cell.text.startswith("[") else "") + _latex_numbers(one_line(cell.text))
    if text and cell.best:
        text = rf"\textbf{{\boldmath {text}}}"
    if text and cell.null:
        text = rf"\textit{{{text}}}"
    return rf"{text}\textsuperscript{{\textdagger}}" if cell.dagger else text


def _latex_numbers(text: str) -> str:
    """Return an escaped text whose numbers have a minus sign, not a hyphen, and a power of ten."""
    parts, end = [], 0
    for found in NUMBER_IN_TEXT.finditer(text):
        sign, digits, power = found.groups()
        parts.append(_escape_latex(text[end : found.start()]))
        times = rf"\times10^{{{int(power)}}}" if power else ""
        parts.append(f"${sign}{digits}{times}$" if sign or times else digits)
        end = found.end()
    return "".join([*parts, _escape_latex(text[end:])])
