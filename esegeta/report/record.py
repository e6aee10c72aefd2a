"""What a run leaves beside its maps: the record, the scores, the marks of a BIDS derivative."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.errors import RunError, suggest
from esegeta.explain import RegionRow
from esegeta.report.tidy import write_csv
from esegeta.volume import write_json, write_text

NOT_OF_BIDS = (
    "run.json",
    "scores.csv",
    "regions.csv",
    "curves.csv",
    "retrain/",
    "*_attrmap.*",
    "*_layermap.*",
    "*_overlay.png",
    "*_regions.png",
    "*_curves.png",
    "dissection/",
)
"""What the validator of BIDS shall pass over."""

REGIONS = "regions.csv"
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
SCORES = "scores.csv"
SCORE_COLUMNS = ("case", "target", "method", "score", "value", "better")
DIRECTIONS = ("lower", "higher", "none")
"""Which value of a score is better; `none` where it describes a map and does not judge it."""


@dataclass(frozen=True)
class ScoreRow:
    """One line of scores.csv."""

    case: str
    target: str
    method: str
    score: str
    value: float | None
    better: str


def write_scores(root: Path, rows: Iterable[ScoreRow]) -> None:
    """Write scores.csv: tidy, one value a line; NaN where a score is undefined."""
    lines = (
        (
            *(row.case, row.target, row.method, row.score),
            math.nan if row.value is None else row.value,
            row.better,
        )
        for row in rows
    )
    write_csv(root / SCORES, SCORE_COLUMNS, lines)


def write_regions(root: Path, rows: Iterable[tuple[str, str, str, RegionRow]]) -> None:
    """Write regions.csv: one line a case, target, method, atlas, region and channel."""
    lines = (
        (
            *(case, target, method, row.atlas, row.region, row.channel),
            *(row.share, row.signed_sum, row.volume_ml, row.per_ml, row.magnitude_per_ml),
        )
        for case, target, method, row in rows
    )
    write_csv(root / REGIONS, REGION_COLUMNS, lines)


def remove_regions(root: Path) -> None:
    """Remove the table of an earlier run that aggregated its maps, where this one does not."""
    (root / REGIONS).unlink(missing_ok=True)


def region_row(values: Mapping[str, Any]) -> RegionRow:
    """Return a row as it was before JSON, which has no NaN, made it plain values."""
    known: dict[str, Any] = {
        key: math.nan if value is None else value for key, value in values.items()
    }
    return RegionRow(**known)


def write_dataset_files(root: Path, name: str) -> None:
    """Write what makes the folder a BIDS derivative, and what its validator shall pass over."""
    from esegeta import __version__

    write_json(
        root / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "esegeta", "Version": __version__}],
        },
    )
    write_text(root / ".bidsignore", "".join(f"{pattern}\n" for pattern in NOT_OF_BIDS))


def write_record(root: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    write_json(root / "run.json", record)


def read_sidecar(path: Path) -> dict[str, Any] | None:
    """Read a sidecar, or None where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_record(root: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunError: there is no such folder, no run in it, or no record that can be read.
    """
    path = root / "run.json"
    if not root.is_dir():
        siblings = sorted(other.name for other in root.parent.glob("*") if other.is_dir())
        raise RunError(f"{root}: no such folder", hint=suggest(root.name, siblings))
    if not path.is_file():
        inside = sorted(str(found.parent) for found in root.glob("*/run.json"))
        hint = "`esegeta run` leaves run.json in <output>/<name>"
        raise RunError(
            f"{root}: no run (run.json is not there)",
            hint=f"there are runs in it: {' '.join(inside)}" if inside else hint,
        )
    record = read_sidecar(path)
    if record is None:
        raise RunError(f"{path}: cannot be read as JSON", hint="run the experiment again")
    return record


def read_scores(root: Path) -> list[ScoreRow]:
    """Read scores.csv; None where a value is undefined.

    Raises:
        RunError: it is not there, or a line of it is not as `write_scores` leaves it.
    """
    path = root / SCORES
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
        raise RunError(f"{place}: has {len(fields)} fields in place of {len(SCORE_COLUMNS)}")
    case, target, method, score, text, better = fields
    try:
        value = float(text)
    except ValueError as error:
        raise RunError(f'{place}: value "{text}" is no number', hint="nan if undefined") from error
    if better not in DIRECTIONS:
        raise RunError(f'{place}: better is "{better}"', hint=suggest(better, DIRECTIONS))
    return ScoreRow(case, target, method, score, None if math.isnan(value) else value, better)
