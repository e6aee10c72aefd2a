"""CSV tables of a run, one record per line; how any table is written."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from esegeta.errors import RunError, suggest
from esegeta.explain import RegionRow
from esegeta.report.cells import name_in_cell, safe_again, safe_cell
from esegeta.results_folder import CURVES_TABLE, PREDICTIONS_TABLE, REGIONS_TABLE, SCORES_TABLE
from esegeta.volume import atomic_path

REGION_COLUMNS = (
    "case",
    "target",
    "method",
    "atlas",
    "region",
    "channel",
    "share",
    "signed_sum",
    "volume_ml",
    "per_ml",
    "magnitude_per_ml",
)
SCORE_COLUMNS = ("case", "target", "method", "score", "value", "better")
DIRECTIONS = ("lower", "higher", "none")
"""Which value of a score is better; `none` where it describes a map and does not judge it."""

CURVE_COLUMNS = ("case", "target", "method", "score", "curve", "x", "y", "tick")

PREDICTION_COLUMNS = ("case", "label", "dice", "num_voxels_expected", "num_voxels_predicted")

CellValue = str | int | float | None
Row = TypeVar("Row")


@dataclass(frozen=True)
class ScoreRow:
    """One line of scores.csv."""

    case: str
    target: str
    method: str
    score: str
    value: float | None
    better: str


@dataclass(frozen=True)
class CurveRow:
    """One curve of one map; a line of curves.csv for each of its points."""

    case: str
    target: str
    method: str
    score: str
    curve: str
    x_label: str
    y_label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    ticks: tuple[str, ...] = ()
    over_shares: bool = False


@dataclass(frozen=True)
class PredictionRow:
    """One line of predictions.csv; without an expected segmentation there is no Dice."""

    case: str
    label: str
    dice: float | None
    num_voxels_expected: int | None
    num_voxels_predicted: int


def write_csv(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[CellValue]],
    kept: Iterable[Sequence[str]] = (),
) -> None:
    """Write a CSV file: numbers in full, `nan` where one is undefined, truths as 1 and 0.

    Names that a spreadsheet would take for a formula stand behind an apostrophe; see `safe_cell`.

    Args:
        path: path of the file to write.
        columns: names of the columns.
        rows: rows, each as long as `columns`; None is an empty field.
        kept: rows as they stand in a file; they follow.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([_text(column) for column in columns])
        writer.writerows([_text(value) for value in row] for row in rows)
        writer.writerows([safe_again(cell) for cell in row] for row in kept)


def cells_of(names: Iterable[object]) -> list[str]:
    """Return names as the cells of a table hold them."""
    return [_text(str(name)) for name in names]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of a table as they stand there, up to the first place where it is damaged.

    There are none of a table of other columns, or where no table is.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            if next(rows, None) == list(columns):
                yield from (row for row in rows if len(row) == len(columns))
    except (OSError, ValueError, csv.Error):
        return


def write_scores(root: Path, rows: Iterable[ScoreRow], kept: Iterable[Sequence[str]] = ()) -> None:
    """Write scores.csv: one value per line; NaN where a score is undefined."""
    lines = (
        (
            *(row.case, row.target, row.method, row.score),
            math.nan if row.value is None else row.value,
            row.better,
        )
        for row in rows
    )
    write_csv(root / SCORES_TABLE, SCORE_COLUMNS, lines, kept)


def write_regions(
    root: Path,
    rows: Iterable[tuple[str, str, str, RegionRow]],
    kept: Iterable[Sequence[str]] = (),
) -> None:
    """Write regions.csv: one line per case, target, method, atlas, region and channel."""
    lines = (
        (
            *(case, target, method, row.atlas, row.region, row.channel),
            *(row.share, row.signed_sum, row.volume_ml, row.per_ml, row.magnitude_per_ml),
        )
        for case, target, method, row in rows
    )
    write_csv(root / REGIONS_TABLE, REGION_COLUMNS, lines, kept)


def remove_regions(root: Path) -> None:
    """Remove the table of an earlier run that aggregated its maps, where this one does not."""
    (root / REGIONS_TABLE).unlink(missing_ok=True)


def region_row(values: Mapping[str, Any]) -> RegionRow:
    """Return a row as it was before it became JSON, which has no NaN."""
    known: dict[str, Any] = {
        key: math.nan if value is None else value for key, value in values.items()
    }
    return RegionRow(**known)


def write_curves(root: Path, rows: Iterable[CurveRow], kept: Iterable[Sequence[str]] = ()) -> None:
    """Write curves.csv, one point per line; without a curve, no file is written."""
    points: Iterable[Sequence[CellValue]] = (
        (row.case, row.target, row.method, row.score, row.curve, x, y, tick)
        for row in rows
        for x, y, tick in zip(row.x, row.y, row.ticks or ("",) * len(row.x), strict=True)
    )
    has_points, points = _looked_into(points)
    has_kept, kept = _looked_into(kept)
    if has_points or has_kept:
        write_csv(root / CURVES_TABLE, CURVE_COLUMNS, points, kept)
    else:
        (root / CURVES_TABLE).unlink(missing_ok=True)


def _looked_into(rows: Iterable[Row]) -> tuple[bool, Iterator[Row]]:
    """Return whether there is any row, and all of them."""
    rest = iter(rows)
    first = list(itertools.islice(rest, 1))
    return bool(first), itertools.chain(first, rest)


def write_predictions(
    root: Path, rows: Iterable[PredictionRow], kept: Iterable[Sequence[str]] = ()
) -> None:
    """Write predictions.csv: the labels of each case, and how well they agree with the expected."""
    lines = (
        (row.case, row.label, row.dice, row.num_voxels_expected, row.num_voxels_predicted)
        for row in rows
    )
    write_csv(root / PREDICTIONS_TABLE, PREDICTION_COLUMNS, lines, kept)


def read_scores(root: Path) -> list[ScoreRow]:
    """Read scores.csv; None where a value is undefined.

    Raises:
        RunError: the file is missing, or a line is not as `write_scores` writes it.
    """
    path = root / SCORES_TABLE
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be read ({error.strerror})", hint="run the experiment again"
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RunError(f"{path}:{line}: is not UTF-8 text") from error
    lines = _csv_lines(path, text)
    _, header = next(lines, (1, []))
    if tuple(header) != SCORE_COLUMNS:
        raise RunError(f"{path}:1: the columns are not {','.join(SCORE_COLUMNS)}")
    return [_score_row(fields, f"{path}:{number}") for number, fields in lines]


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            yield reader.line_num, fields
    except csv.Error as error:
        raise RunError(f"{path}:{reader.line_num}: {error}") from error


def _score_row(fields: Sequence[str], place: str) -> ScoreRow:
    if len(fields) != len(SCORE_COLUMNS):
        raise RunError(f"{place}: has {len(fields)} fields instead of {len(SCORE_COLUMNS)}")
    case, target, method, score = (name_in_cell(field) for field in fields[:4])
    text, better = fields[4:]
    try:
        value = float(text)
    except ValueError as error:
        raise RunError(
            f'{place}: value "{text}" is not a number', hint="write nan if it is undefined"
        ) from error
    if better not in DIRECTIONS:
        raise RunError(f'{place}: better is "{better}"', hint=suggest(better, DIRECTIONS))
    return ScoreRow(case, target, method, score, None if math.isnan(value) else value, better)


def _text(value: CellValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return safe_cell(value)
    return repr(float(value)) if isinstance(value, float) else str(value)


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write some columns of rows that are given by name; see `write_csv`."""
    write_csv(path, columns, ([row[column] for column in columns] for row in rows))
