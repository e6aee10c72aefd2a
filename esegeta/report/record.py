"""What a run leaves beside maps and tables: its record, and the marks of a BIDS derivative."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from esegeta.errors import RunError, suggest
from esegeta.volume import write_json, write_text

NOT_OF_BIDS = (
    "run.json",
    "scores.csv",
    "regions.csv",
    "curves.csv",
    "predictions.csv",
    "retrain/",
    "*_attrmap.*",
    "*_layermap.*",
    "*_overlay.png",
    "*_regions.png",
    "*_curves.png",
    "dissection/",
)
"""What the BIDS validator ignores."""


def write_dataset_files(root: Path, name: str) -> None:
    """Write what makes the folder a BIDS derivative, and what its validator ignores."""
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
            f"{root}: not a run (run.json is missing)",
            hint=f"it contains runs: {' '.join(inside)}" if inside else hint,
        )
    record = read_sidecar(path)
    if record is None:
        raise RunError(f"{path}: cannot be read as JSON", hint="run the experiment again")
    return record
