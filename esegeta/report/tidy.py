"""Tidy tables: one record a line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from esegeta.volume import write_text

Value = str | int | float | None


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    """Write a CSV file: numbers in full, `nan` where one is undefined, nothing where there is none.

    Args:
        path: where to.
        columns: the head.
        rows: each as long as `columns`; None is an empty field.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(value) for value in row] for row in rows)
    write_text(path, stream.getvalue())


def _text(value: Value) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
