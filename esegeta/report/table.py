"""A table as it is read: cells with emphasis, to be set as Markdown or LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass

PLAIN_FROM, PLAIN_TO = 1e-3, 1e5

SMALLEST_P = 1e-4

NUMBER = re.compile(r"<?-?\d|undefined$")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: what stands in it; numbers with a minus sign or an exponent are set as such.
        best: the best of its column, in bold.
        null: a null competitor's, in italics.
        dagger: carries a dagger, which the table's note explains.
    """

    text: str
    best: bool = False
    null: bool = False
    dagger: bool = False


@dataclass(frozen=True)
class Table:
    """A table with its title.

    Args:
        title: above it.
        columns: heads; columns of numbers are set to the right.
        rows: each as long as `columns`.
        note: below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    @property
    def of_numbers(self) -> tuple[bool, ...]:
        """Whether all that a column holds begins with a digit, by column."""
        if not self.rows:
            return (False,) * len(self.columns)
        texts = [[cell.text for cell in column] for column in zip(*self.rows, strict=True)]
        return tuple(all(map(NUMBER.match, filter(None, column))) for column in texts)


def number_text(value: float) -> str:
    """Return a number with three significant digits, with a power of ten only if far from 1."""
    if value != 0 and not PLAIN_FROM <= abs(value) < PLAIN_TO:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}" if power else digits
    return f"{float(f'{value:.3g}'):.10g}"


def p_text(p: float) -> str:
    """Return a p-value; one that small is beyond what its approximation can tell."""
    return f"{p:.2g}" if p >= SMALLEST_P else f"<{SMALLEST_P:.4f}"


def one_line(text: str) -> str:
    """Return a text without line breaks, which would end a row."""
    return " ".join(text.split())
