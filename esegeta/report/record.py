"""What a run leaves beside its maps: the record, the scores, the marks of a BIDS derivative."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from esegeta.volume import write_json, write_text

NOT_OF_BIDS = ("run.json", "scores.csv", "*_attrmap.*", "*_layermap.*", "*_overlay.png")
"""What the validator of BIDS shall pass over."""

SCORE_COLUMNS = ("case", "target", "method", "score", "value", "better")


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
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(SCORE_COLUMNS)
    for row in rows:
        value = "nan" if row.value is None else repr(row.value)
        writer.writerow((row.case, row.target, row.method, row.score, value, row.better))
    write_text(root / "scores.csv", stream.getvalue())


def write_dataset_files(root: Path, name: str, version: str) -> None:
    """Write what makes the folder a BIDS derivative, and what its validator shall pass over."""
    write_json(
        root / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "esegeta", "Version": version}],
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
