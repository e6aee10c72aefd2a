"""The folders that a report covers, as they are on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from esegeta.compare.folder import RunFolder, is_comparison
from esegeta.config import Config, RunConfig, list_cases
from esegeta.config.data import DataKeys
from esegeta.config.lines import Document
from esegeta.errors import EsegetaError, RunError
from esegeta.explain import NULL
from esegeta.report import TaskFiles, read_record, read_scores
from esegeta.report.shapes import (
    MapTold,
    NotesTold,
    RunTold,
    foreign_in,
    misfit,
    read_told,
    require_told,
)
from esegeta.results_folder import PARTS, RUN_RECORD, SCORES_TABLE
from esegeta.volume import Case

TaskKey = tuple[str, str, str]
"""Case, target, method."""


@dataclass(frozen=True, eq=False)
class ReportRun:
    """A folder that a report covers.

    Args:
        number: place of the folder among all.
        folder: record and scores of the run.
        shown_name: name that tells it from the others; empty where it is the only one.
    """

    number: int
    folder: RunFolder
    shown_name: str

    @property
    def root(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def record(self) -> Mapping[str, Any]:
        """What run.json holds."""
        return self.folder.record

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""
        found = self.record.get("config")
        return found if isinstance(found, dict) else {}

    def config_of(self, *keys: str) -> Any:
        """Return a value of the config, or None where it or a block around it is not there."""
        found: Any = self.config
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    @cached_property
    def tasks(self) -> dict[TaskKey, Mapping[str, Any]]:
        """How each task ended, by case, target and method."""
        return {
            (str(task["case"]), str(task["target"]), str(task["method"])): task
            for task in self.folder.tasks
            if {"case", "target", "method"} <= set(task)
        }

    @cached_property
    def case_names(self) -> list[str]:
        """Cases that have a task."""
        return list(dict.fromkeys(case for case, _, _ in self.tasks))

    @cached_property
    def _places(self) -> dict[TaskKey, int]:
        return {key: place for place, key in enumerate(self.tasks)}

    def case_id(self, name: str) -> str:
        """Return what the page calls a case."""
        return f"r{self.number}c{self.case_names.index(name)}"

    def map_id(self, key: TaskKey) -> str:
        """Return what the page calls a map."""
        return f"r{self.number}m{self._places[key]}"

    def files(self, key: TaskKey) -> TaskFiles:
        """Return where the files of a map lie."""
        return TaskFiles(self.root, *key)

    @cached_property
    def sidecars(self) -> dict[TaskKey, Mapping[str, Any]]:
        """The sidecar of each map that is there."""
        found: dict[TaskKey, Mapping[str, Any]] = {}
        for key, task in self.tasks.items():
            files = self.files(key)
            sidecar = read_told(files.sidecar, MapTold)
            if task.get("status") != "failed" and sidecar is not None and files.map.is_file():
                found[key] = sidecar
        return found

    @cached_property
    def foreign(self) -> dict[TaskKey, str]:
        """What is wrong with the sidecars of maps that are there and cannot be shown."""
        sidecars = {key: self.files(key).sidecar for key in self.tasks if key not in self.sidecars}
        told = {key: foreign_in(path, MapTold) for key, path in sidecars.items()}
        return {key: text for key, text in told.items() if text is not None}

    def is_null(self, method: str) -> bool:
        """Tell whether a method knows nothing about the network."""
        return self.folder.method_names.get(method, method) in NULL

    @cached_property
    def cases(self) -> dict[str, Case]:
        """The files of each case, as the run's config names them; none where they are not found."""
        data = self.config_of("data") or {}
        try:
            kept = {key: value for key, value in data.items() if key != "preprocess"}
            keys = Config.model_construct(data=DataKeys.model_validate(kept))
            config = RunConfig(keys, {}, {}, Document(self._config_file, {}, {}))
            return {case.name: case for case in list_cases(config)}
        except (EsegetaError, ValidationError, OSError):
            return {}

    @property
    def _config_file(self) -> Path:
        """The run's config, looked for here and in the folders around the results."""
        named = Path(str(self.record.get("config_file") or "config.yaml"))
        around = (folder / named for folder in self.root.resolve().parents)
        return next((path for path in (named, *around) if path.is_file()), named)


def read_runs(paths: Sequence[Path]) -> list[ReportRun]:
    """Read the folders of a report; a folder that holds runs stands for them.

    Raises:
        RunError: a folder is missing or holds no run.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for folder in _expanded(path):
            found.setdefault(folder.resolve(), folder)
    if not found and paths:
        raise RunError(
            f"{paths[0]}: holds a comparison and no run", hint="name the runs themselves"
        )
    if not found:
        raise RunError("no folder is named", hint="`esegeta report results/demo`")
    folders = [_read(path) for path in found.values()]
    names = _told_apart([folder.name for folder in folders])
    shown = names if len(folders) > 1 else [""]
    return [
        ReportRun(number, folder, name)
        for number, (folder, name) in enumerate(zip(folders, shown, strict=True))
    ]


def _expanded(path: Path) -> list[Path]:
    if (path / RUN_RECORD).is_file() or any(
        (path / part / name).is_file() for part, name in PARTS.items()
    ):
        return [path]
    inside = sorted(found.parent for found in path.glob(f"*/{RUN_RECORD}"))
    return inside or ([] if is_comparison(path) else [path])


def _read(path: Path) -> RunFolder:
    if not (path / RUN_RECORD).is_file():
        for part, name in PARTS.items():
            if (path / part / name).is_file():
                record = require_told(path / part / name, NotesTold)
                # Of another command: under the same keys may stand what is not a run's.
                alike = {k: v for k, v in record.items() if misfit({k: v}, RunTold) is None}
                return RunFolder(path, {**alike, "units": []}, ())
    record = read_record(path)
    has_scores = (path / SCORES_TABLE).is_file()
    return RunFolder(path, record, tuple(read_scores(path)) if has_scores else ())


def _told_apart(names: Iterable[str]) -> list[str]:
    """Return names that are all different."""
    found: list[str] = []
    for name in names:
        other, number = name, 2
        while other in found:
            other, number = f"{name} ({number})", number + 1
        found.append(other)
    return found
