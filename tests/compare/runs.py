"""Folders of runs that never ran: a record and a table of scores, as `esegeta run` leaves them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esegeta.report import ScoreRow, TaskFiles, write_record, write_scores

Key = tuple[str, str, str, str]
"""Case, target, method, score."""


@dataclass
class FakeRun:
    """What a run's folder holds; change it, then write it.

    Args:
        values: by case, target, method and score; NaN where undefined.
        better: of each score that is not `lower`.
        name: of the run.
        weights: stands for their hash.
        methods: name and parameters by id; those of `values` are known by their id.
        scores: name and parameters by id; those of `values` likewise.
        targets: keys by name.
        failed: the message of each task that failed, by case, target and method.
        degenerate: those of them that left a map of zeros, NaN or Inf.
        reasons: why a value is NaN, by its key.
        state: of the run.
        config: joins the record's config.
    """

    values: Mapping[Key, float]
    better: Mapping[str, str] = field(default_factory=dict)
    name: str = "liver"
    weights: str = "w"
    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    degenerate: Iterable[tuple[str, str, str]] = ()
    reasons: Mapping[Key, str] = field(default_factory=dict)
    state: str = "complete"
    config: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the folder and return it."""
        folder.mkdir(parents=True)
        methods = _entries((key[2] for key in self.values), self.methods)
        scores = _entries((key[3] for key in self.values), self.scores)
        names = dict.fromkeys(key[1] for key in self.values)
        targets = [{"name": name, **self.targets.get(name, {})} for name in names]
        config = {"name": self.name, "methods": methods, "scores": scores, "targets": targets}
        record = {
            "esegeta": "0.1.0",
            "config": {**config, **self.config},
            "methods": _parameters(methods),
            "scores": _parameters(scores),
            "weights_sha256": self.weights,
            "state": self.state,
            "units": [*self._done(), *self._failures()],
        }
        write_record(folder, record)
        write_scores(folder, self._rows())
        for key, reason in self.reasons.items():
            path = TaskFiles(folder, *key[:3]).sidecar
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"score_reasons": {key[3]: reason}}))
        return folder

    def _rows(self) -> Iterable[ScoreRow]:
        for (*names, score), value in self.values.items():
            known = None if math.isnan(value) else float(value)
            yield ScoreRow(*names, score, known, self.better.get(score, "lower"))

    def _done(self) -> list[dict[str, Any]]:
        tasks = dict.fromkeys(key[:3] for key in self.values)
        return [_task(task, "done", "") for task in tasks]

    def _failures(self) -> list[dict[str, Any]]:
        return [
            {
                **_task(task, "failed", message),
                **({"degenerate": True} if task in self.degenerate else {}),
            }
            for task, message in self.failed.items()
        ]


def _entries(used: Iterable[str], given: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    ids = dict.fromkeys([*given, *(one for one in used if not _owned(one, given))])
    return [{"name": one, **given.get(one, {}), "id": one} for one in ids]


def _owned(used: str, given: Mapping[str, Mapping[str, Any]]) -> bool:
    return any(used.startswith(one) for one in given)


def _parameters(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        entry["id"]: {key: value for key, value in entry.items() if key not in ("id", "name")}
        for entry in entries
    }


def _task(names: tuple[str, ...], status: str, message: str) -> dict[str, Any]:
    return {
        **dict(zip(("case", "target", "method"), names, strict=True)),
        "status": status,
        "message": message,
        "warnings": [],
    }
