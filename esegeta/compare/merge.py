"""Folders merged into one set of values, with what failed or is undefined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from esegeta.compare.agree import (
    group_by_model,
    notes_between_models,
    require_same_images,
    require_same_methods,
    require_same_scores,
    require_same_targets,
)
from esegeta.compare.folder import RunFolder, aspect_of, family_of, kind_of_metric
from esegeta.errors import RunError
from esegeta.explain import NULL
from esegeta.report import ScoreRow, TaskFiles
from esegeta.report.shapes import MapTold, read_told


@dataclass(frozen=True)
class Failure:
    """A task that left no map.

    `is_degenerate`: there was a map, and it was zero everywhere, NaN or Inf.
    """

    model: str
    case: str
    target: str
    method: str
    message: str
    is_degenerate: bool = False


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
    """Yield the tasks of each model's runs that failed, as run.json names them."""
    for model, folders in models.items():
        for folder in folders:
            for task in folder.tasks:
                if task.get("status") == "failed":
                    names = (str(task.get(key, "")) for key in ("case", "target", "method"))
                    case, target, method = names
                    message = str(task.get("message") or "no reason given")
                    is_degenerate = task.get("degenerate") is True
                    yield Failure(model, case, target, method, message, is_degenerate)


def find_undefined(models: Mapping[str, Sequence[RunFolder]]) -> Iterator[Undefined]:
    """Yield the values that are not numbers, with the reason from the task's sidecar."""
    for model, folders in models.items():
        for folder in folders:
            reasons: dict[Path, Mapping[str, object]] = {}
            for row in folder.rows:
                if math.isfinite(finite(row)):
                    continue
                path = TaskFiles(folder.path, row.case, row.target, row.method).sidecar
                if path not in reasons:
                    given = (read_told(path, MapTold) or {}).get("score_reasons")
                    reasons[path] = given if isinstance(given, dict) else {}
                reason = "infinite" if row.value is not None else "no reason given"
                reason = str(reasons[path].get(row.score) or reason)
                yield Undefined(model, row.case, row.target, row.method, row.score, reason)


@dataclass(frozen=True)
class Competitor:
    """What is ranked: a method on a model.

    Args:
        model: name of the model.
        method: id of the method.
        null: name of a null competitor, such as `random_map`; empty for a real method.
    """

    model: str
    method: str
    null: str = ""


@dataclass(frozen=True)
class ScoreColumn:
    """A column of the study: one number that a score gives.

    Args:
        name: its name, as in scores.csv.
        better: lower, higher or none.
        family: family of scores, by the question they answer.
        aspect: aspect that it judges; several columns of one aspect count as one.
        scale_free: whether it stays the same for a multiple of the map; see `Metric`.
        span: width of its range; 0 where unbounded.
    """

    name: str
    better: str
    family: str
    aspect: str = ""
    scale_free: bool = True
    span: float = 0.0

    @property
    def refusal(self) -> str:
        """Why its values are neither ranked nor tested, or empty."""
        if self.better == "none":
            return "neither high nor low is better"
        if not self.scale_free:
            return "it depends on the scale of the map: a map and its double would rank differently"
        return ""


@dataclass(frozen=True)
class Entry:
    """One value; NaN where it is undefined."""

    competitor: Competitor
    case: str
    target: str
    value: float


@dataclass(frozen=True)
class Merged:
    """All runs in one.

    Args:
        models: runs of each model, by name.
        competitors: competitors by model, in the order of the runs and their configs.
        entries: values of each score, in the order of the runs.
        failures: tasks that failed.
        undefined: values that are NaN, with reasons.
        notes: what the reader should know.
    """

    models: Mapping[str, Sequence[RunFolder]]
    competitors: tuple[Competitor, ...]
    entries: Mapping[ScoreColumn, tuple[Entry, ...]]
    failures: tuple[Failure, ...]
    undefined: tuple[Undefined, ...]
    notes: tuple[str, ...]

    def label(self, competitor: Competitor) -> str:
        """Return the name of a competitor: the method, after the model if there are several."""
        if len(self.models) == 1:
            return competitor.method
        return f"{competitor.model} / {competitor.method}"


def merge_folders(folders: Sequence[RunFolder]) -> Merged:
    """Put the values of many runs into one table.

    Raises:
        RunError: there are no values; scores, targets, methods or images that share a name are
            not the same; or one task has two values.
    """
    models, notes = group_by_model(folders)
    require_same_scores(folders)
    require_same_targets(folders)
    for group in models.values():
        require_same_methods(group)
        require_same_images(group)
    values = _values(models)
    if not values:
        raise RunError(
            "none of the runs has a score: " + ", ".join(str(folder.path) for folder in folders),
            hint="see the failures in run.json",
        )
    kinds = _kinds(folders)
    competitors = tuple(_competitors(models))
    known = {(one.model, one.method): one for one in competitors}
    entries: dict[ScoreColumn, list[Entry]] = {kind: [] for kind in kinds.values()}
    for (model, case, target, method, score), value in values.items():
        entries[kinds[score]].append(Entry(known[model, method], case, target, value))
    return Merged(
        models,
        competitors,
        {kind: tuple(some) for kind, some in entries.items()},
        tuple(dict.fromkeys(find_failures(models))),
        tuple(dict.fromkeys(find_undefined(models))),
        (
            *notes,
            *_states(folders),
            *_infinite(folders),
            *_versions(folders),
            *notes_between_models(models),
        ),
    )


def _values(
    models: Mapping[str, Sequence[RunFolder]],
) -> dict[tuple[str, str, str, str, str], float]:
    """Return every value by model, case, target, method and score."""
    found: dict[tuple[str, str, str, str, str], tuple[float, RunFolder]] = {}
    for model, folders in models.items():
        for folder in folders:
            for row in folder.rows:
                key = (model, row.case, row.target, row.method, row.score)
                value = finite(row)
                known, first = found.setdefault(key, (value, folder))
                if known != value and not (math.isnan(known) and math.isnan(value)):
                    task = f"{row.case} / {row.target} / {row.method}"
                    raise RunError(
                        f"{row.score} of {task} is {known!r} in {first.path} and {value!r} in "
                        f"{folder.path}, both of model {model}",
                        hint="leave one of the two runs out, or run the task again in one",
                    )
    return {key: value for key, (value, _) in found.items()}


def _kinds(folders: Sequence[RunFolder]) -> dict[str, ScoreColumn]:
    kinds: dict[str, tuple[ScoreColumn, RunFolder]] = {}
    for folder in folders:
        for row in folder.rows:
            if row.score not in kinds:
                kinds[row.score] = _kind(row, folder), folder
            kind, first = kinds[row.score]
            if kind.better != row.better:
                raise RunError(
                    f'score "{row.score}": better is {kind.better} in {first.path} and '
                    f"{row.better} in {folder.path}",
                    hint="run one of them again with this version",
                )
    return {name: kind for name, (kind, _) in kinds.items()}


def _kind(row: ScoreRow, folder: RunFolder) -> ScoreColumn:
    names = folder.score_names
    known = kind_of_metric(row.score, names)
    span = math.inf if known is None else known.high - known.low
    return ScoreColumn(
        row.score,
        row.better,
        family_of(row.score, names),
        aspect_of(row.score, names),
        known is None or known.scale_free,
        span if math.isfinite(span) else 0.0,
    )


def _competitors(models: Mapping[str, Sequence[RunFolder]]) -> Iterator[Competitor]:
    """Yield the competitors of each model: those of the config in its order, then the rest."""
    for model, folders in models.items():
        scored = {row.method: folder for folder in folders for row in folder.rows}
        listed = [method for folder in folders for method in folder.method_names]
        for method in dict.fromkeys([*listed, *scored]):
            if method in scored:
                name = scored[method].method_names.get(method, method)
                yield Competitor(model, method, name if name in NULL else "")


def _states(folders: Sequence[RunFolder]) -> Iterator[str]:
    """Say which runs are unfinished or failed in part."""
    for folder in folders:
        if folder.state == "complete":
            continue
        failed = sum(task.get("status") == "failed" for task in folder.tasks)
        what = {
            "running": "is still running or was stopped",
            "incomplete": f"has failed tasks ({failed})",
            "failed": "failed",
        }.get(folder.state, f"is {folder.state}")
        yield f"{folder.path} {what}; its {len(folder.rows)} available values are used"


def _versions(folders: Sequence[RunFolder]) -> Iterator[str]:
    versions = dict.fromkeys(str(folder.record.get("esegeta", "unknown")) for folder in folders)
    if len(versions) > 1:
        yield (
            f"the runs were made by esegeta {', '.join(versions)}: a score may have changed in "
            "between"
        )


def _infinite(folders: Sequence[RunFolder]) -> Iterator[str]:
    for folder in folders:
        infinite = [
            row for row in folder.rows if row.value is not None and not math.isfinite(row.value)
        ]
        if infinite:
            scores = ", ".join(dict.fromkeys(row.score for row in infinite))
            yield (f"{folder.path}: infinite values ({len(infinite)}) count as undefined: {scores}")
