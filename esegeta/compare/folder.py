"""A run's folder as a study sees it: what it was made with, its scores, and whose they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from esegeta.errors import RunError
from esegeta.report import ScoreRow, read_record, read_scores
from esegeta.results_folder import COMPARISON_RECORD, RUN_RECORD, SCORES_TABLE
from esegeta.score import SCORES, Metric, Score

RECORD = COMPARISON_RECORD
"""What a study writes about itself."""

NOT_OF_THE_MODEL = ("weights", "batch_size")
"""Keys that differ between machines and leave the prediction as it is; weights have a hash."""

FAMILIES = ("faithfulness", "robustness", "localisation", "complexity", "sanity")
"""The order in which families are shown; others follow."""

OTHER = "other"
"""Stands for the family of scores that this version does not know."""


@dataclass(frozen=True)
class RunFolder:
    """A run that was read.

    Args:
        path: path of its folder, as given.
        record: content of run.json.
        rows: rows of scores.csv, without tasks that failed.
    """

    path: Path
    record: Mapping[str, Any]
    rows: tuple[ScoreRow, ...]

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self._config.get("name") or self.path.resolve().name)

    @property
    def state(self) -> str:
        """How the run ended; `running` too where it was killed."""
        return str(self.record.get("state", "unknown"))

    @property
    def weights_sha256(self) -> str:
        """Hash of the network's weights."""
        return str(self.record.get("weights_sha256") or "")

    @property
    def tasks(self) -> list[Mapping[str, Any]]:
        """How each task ended."""
        return [task for task in self.record.get("units") or [] if isinstance(task, dict)]

    @cached_property
    def model_parts(self) -> dict[str, str]:
        """All that decides what is predicted besides the weights, by key, as text."""
        config = self._config
        data = config.get("data") or {}
        parts = {
            "code": self.record.get("code_sha256"),
            "model": config.get("model") or {},
            "activation": config.get("activation"),
            "labels": config.get("labels") or {},
            "ignore_label": config.get("ignore_label"),
            "region_order": config.get("region_order"),
            "threshold": config.get("threshold"),
            "postprocessing": config.get("postprocessing") or {},
            "data.preprocess": data.get("preprocess") or {},
            "data.nan": data.get("nan"),
            "data.channels_axis": data.get("channels_axis"),
            "data.align": data.get("align"),
            "inference": config.get("inference") or {},
        }
        found = {key: text for part in parts.items() for key, text in flatten(*part).items()}
        return {
            key: text
            for key, text in found.items()
            if key.rpartition(".")[2] not in NOT_OF_THE_MODEL
        }

    @cached_property
    def method_names(self) -> dict[str, str]:
        """The name of each method by its id."""
        return self._names("methods")

    @cached_property
    def score_names(self) -> dict[str, str]:
        """The name of each score by its id."""
        return self._names("scores")

    def parameters(self, block: str, identity: str) -> dict[str, str]:
        """Return name and parameters of a method, score or target as text, the seed apart.

        Args:
            block: `methods`, `scores` or `targets`.
            identity: id of a method or score; name of a target, components without their number.
        """
        if block == "targets":
            name = identity.partition("#")[0]
            known = next((keys for keys in self._entries("targets") if keys["name"] == name), {})
        else:
            recorded = (self.record.get(block) or {}).get(identity) or {}
            known = {"name": self._names(block).get(identity, identity), **recorded}
        return {
            key: text
            for key, text in flatten("", known).items()
            if key.rpartition(".")[2] not in ("seed", "id")
        }

    @property
    def _config(self) -> Mapping[str, Any]:
        config = self.record.get("config")
        return config if isinstance(config, dict) else {}

    def _names(self, block: str) -> dict[str, str]:
        recorded: Mapping[str, Any] = self.record.get(block) or {}
        names = {identity: identity for identity in recorded}
        names |= {
            str(keys.get("id") or keys["name"]): keys["name"] for keys in self._entries(block)
        }
        return names

    def _entries(self, block: str) -> list[dict[str, Any]]:
        entries = self._config.get(block) or []
        known = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
        return [entry for entry in known if isinstance(entry, dict) and entry.get("name")]


def read_run_folder(path: Path) -> RunFolder:
    """Read a run's record and scores.

    Raises:
        RunError: the folder is missing, holds no run or none with scores, or cannot be read.
    """
    record = read_record(path)
    has_table = (path / SCORES_TABLE).is_file()
    if not has_table and record.get("scores") and record.get("state") == "running":
        return RunFolder(path, record, ())  # stopped before its first task
    rows = tuple(read_scores(path)) if has_table or record.get("scores") else ()
    if not rows and not record.get("scores"):
        raise RunError(
            f"{path}: the run has no scores",
            hint="add `scores:` to its config and run it again",
        )
    whole = RunFolder(path, record, rows)
    failed = {
        tuple(str(task.get(key)) for key in ("case", "target", "method"))
        for task in whole.tasks
        if task.get("status") == "failed"
    }
    kept = (row for row in rows if (row.case, row.target, row.method) not in failed)
    return replace(whole, rows=tuple(kept))


def is_comparison(path: Path) -> bool:
    """Tell whether a folder holds what a study wrote, and no run."""
    return (path / RECORD).is_file() and not (path / RUN_RECORD).exists()


def flatten(key: str, value: Any) -> dict[str, str]:
    """Return a nested value as texts by dotted key."""
    if not isinstance(value, Mapping):
        return {key: json.dumps(value, sort_keys=True)}
    prefix = f"{key}." if key else ""
    return {
        inner: text
        for name, item in value.items()
        for inner, text in flatten(f"{prefix}{name}", item).items()
    }


def owners_of(metric: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the scores that a line of scores.csv can come from.

    An id that is not its score's name stands before the metric, with a dot. Of scores that are
    not known here, the one is taken whose id the metric begins with, or else all of them.

    Args:
        metric: name of the metric, as in scores.csv.
        names: names of the run's scores, by id.
    """
    prefixed = [identity for identity in names if metric.startswith(f"{identity}.")]
    if prefixed:
        return (max(prefixed, key=len),)
    known = [identity for identity, name in names.items() if metric in _metrics(name)]
    if known:
        return (known[0],)
    begun = [identity for identity in names if metric.startswith(identity)]
    if begun:
        return (max(begun, key=len),)
    return tuple(identity for identity, name in names.items() if name not in SCORES)


def family_of(metric: str, names: Mapping[str, str]) -> str:
    """Return the family of a line of scores.csv, or `other`."""
    owners = [names[identity] for identity in owners_of(metric, names)]
    bare = [name for name in SCORES if metric in _metrics(name)]
    families = {SCORES[name].family for name in [*owners, *bare][:1] if name in SCORES}
    return families.pop() if families else OTHER


def aspect_of(metric: str, names: Mapping[str, str]) -> str:
    """Return which aspect a line of scores.csv judges: its score's, or its own where unknown."""
    found = _score_and_metric(metric, names)
    return metric if found is None else found[0].aspect()


def kind_of_metric(metric: str, names: Mapping[str, str]) -> Metric | None:
    """Return what is declared about a line of scores.csv; None where it is not known here."""
    found = _score_and_metric(metric, names)
    return None if found is None else found[1]


def _score_and_metric(metric: str, names: Mapping[str, str]) -> tuple[type[Score], Metric] | None:
    owners = owners_of(metric, names)
    bare = metric
    for identity in owners:
        if names[identity] != identity:
            bare = metric.removeprefix(f"{identity}.")
    wanted = [names[identity] for identity in owners] or list(SCORES)
    for score in (SCORES[name] for name in wanted if name in SCORES):
        for one in score.metrics:
            if one.name == bare:
                return score, one
    return None


def in_order(families: set[str]) -> list[str]:
    """Return families in the order in which they are shown."""
    known = [family for family in FAMILIES if family in families]
    rest = sorted(families - {*FAMILIES, OTHER})
    return [*known, *rest, *([OTHER] if OTHER in families else [])]


def _metrics(name: str) -> set[str]:
    return {metric.name for metric in SCORES[name].metrics} if name in SCORES else set()
