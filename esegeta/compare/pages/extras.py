"""What other commands left in a run's folder: dissection, concepts, features, retraining."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from esegeta.compare.pages.runs import ReportRun
from esegeta.config.globbing import natural_order
from esegeta.report import name_in_cell
from esegeta.report.page import Section, Sink, TableEntry
from esegeta.report.shapes import NotesTold, foreign_in, read_told
from esegeta.results_folder import PARTS, PREDICTIONS_TABLE

FOLDERS = {
    "dissection": "Dissection",
    "concepts": "Concepts",
    "features": "Features",
    "similarity": "Similarity",
    "examples": "Examples",
    "retrain": "Retraining",
    "inspect": "Inside the network",
}
"""Folders that get a part of the page, and the title of that part."""

MOST_ROWS, MOST_PICTURES = 200, 40


def sections_of(run: ReportRun, sink: Sink) -> Iterator[Section]:
    """Yield a part of the page for each folder that is there."""
    before = f"{run.shown_name}: " if run.shown_name else ""
    compared = _table(run.root / PREDICTIONS_TABLE)
    if compared is not None:
        yield Section(f"{before}Prediction", tables=(compared,))
    for name, title in FOLDERS.items():
        folder = run.root / name
        if folder.is_dir():
            yield _section(folder, before + title, sink)


def _section(folder: Path, title: str, sink: Sink) -> Section:
    record = folder / PARTS[folder.name]
    notes = list((read_told(record, NotesTold) or {}).get("notes") or ())
    notes += [text] if (text := foreign_in(record, NotesTold)) else []
    paths = sorted(folder.glob("*.csv"), key=lambda path: path.stat().st_size)
    tables = [table for table in map(_table, paths) if table is not None]
    pictures = sorted(folder.rglob("*.png"), key=_picture_order)
    if len(pictures) > MOST_PICTURES:
        notes.append(
            f"{MOST_PICTURES} of {len(pictures)} pictures are shown; the others are in {folder}"
        )
    shown = [(path.stem, sink.add_picture(path)) for path in pictures[:MOST_PICTURES]]
    return Section(
        title,
        notes=tuple(dict.fromkeys(notes)),
        tables=tuple(tables),
        pictures=tuple((name, source) for name, source in shown if source),
    )


def _table(path: Path) -> TableEntry | None:
    """Return the first rows of a CSV table; None where there is none."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2:
        return None
    note = "" if len(rows) - 1 <= MOST_ROWS else f"first {MOST_ROWS} of {len(rows) - 1} rows"
    body = tuple(tuple(map(name_in_cell, row)) for row in rows[1 : MOST_ROWS + 1])
    return TableEntry(path.name, tuple(rows[0]), body, note)


def _picture_order(path: Path) -> tuple[int, list[tuple[int, str]]]:
    """Return a key by which a folder's own pictures come first, and unit 2 before unit 10."""
    return len(path.parts), natural_order(path.name)
