"""What is not in the numbers: units that failed, maps that are degenerate, undefined values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esegeta.compare.folder import RunFolder
from esegeta.report import ScoreRow, UnitFiles, read_sidecar

DEGENERATE = re.compile(r"\bmap\b(?! of a perturbed).*(\bzero\b|\bNaN\b|\bInf\b|not finite)")
"""How run.json says that a map was no map; the hint behind the semicolon says nothing of it."""


@dataclass(frozen=True)
class Failure:
    """A unit of work that left no map."""

    model: str
    case: str
    target: str
    method: str
    message: str

    @property
    def is_degenerate(self) -> bool:
        """Whether there was a map, and it was zero, NaN or Inf."""
        return DEGENERATE.search(self.message.partition(";")[0]) is not None


@dataclass(frozen=True)
class Undefined:
    """A value that is undefined, and why."""

    model: str
    case: str
    target: str
    method: str
    score: str
    reason: str


def finite(row: ScoreRow) -> float:
    """Return a value; NaN where it is undefined or infinite."""
    value = math.nan if row.value is None else row.value
    return value if math.isfinite(value) else math.nan


def find_failures(models: Mapping[str, Sequence[RunFolder]]) -> Iterator[Failure]:
    """Yield the units of each model's runs that failed, as run.json names them."""
    for model, folders in models.items():
        for folder in folders:
            for unit in folder.units:
                if unit.get("status") == "failed":
                    names = (str(unit.get(key, "")) for key in ("case", "target", "method"))
                    case, target, method = names
                    message = str(unit.get("message") or "no reason given")
                    yield Failure(model, case, target, method, message)


def find_undefined(models: Mapping[str, Sequence[RunFolder]]) -> Iterator[Undefined]:
    """Yield the values that are no number, with the reason from the unit's sidecar."""
    for model, folders in models.items():
        for folder in folders:
            reasons: dict[Path, Mapping[str, object]] = {}
            for row in folder.rows:
                if math.isfinite(finite(row)):
                    continue
                path = UnitFiles(folder.path, row.case, row.target, row.method).sidecar
                if path not in reasons:
                    given = (read_sidecar(path) or {}).get("score_reasons")
                    reasons[path] = given if isinstance(given, dict) else {}
                reason = "infinite" if row.value is not None else "no reason given"
                reason = str(reasons[path].get(row.score) or reason)
                yield Undefined(model, row.case, row.target, row.method, row.score, reason)
