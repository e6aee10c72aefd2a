"""The record of a run as the page shows it, and whom to cite."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from esegeta.compare.pages.runs import ReportRun
from esegeta.explain import METHODS
from esegeta.report.page import Citation, RunEntry
from esegeta.score import ALL_SCORES


def record_of(run: ReportRun) -> RunEntry:
    """Return what was run, with what, on what, and what went wrong."""
    record = run.record
    warnings = [str(note) for note in record.get("notes") or ()]
    failures = []
    for (case, target, method), task in run.tasks.items():
        name = f"{case} / {target} / {method}"
        warnings += [f"{name}: {text}" for text in task.get("warnings") or ()]
        if task.get("status") == "failed":
            failures.append((name, str(task.get("message") or "no reason given")))
    for row in record.get("predictions") or ():
        warnings += [f"{row.get('case')}: {text}" for text in row.get("warnings") or ()]
        if row.get("status") == "failed":
            failures.append((f"{row.get('case')}: prediction", str(row.get("message", ""))))
    return RunEntry(
        name=run.shown_name or run.folder.name,
        facts=tuple((name, text) for name, text in _facts(run) if text),
        hashes=tuple(_hashes(record)),
        versions=tuple((str(k), str(v)) for k, v in (record.get("versions") or {}).items()),
        warnings=tuple(dict.fromkeys(warnings)),
        failures=tuple(failures),
        config=yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True),
    )


def _facts(run: ReportRun) -> Iterator[tuple[str, str]]:
    record = run.record
    device = record.get("device") or {}
    network = record.get("network") or {}
    yield "folder", str(run.root)
    yield "config", str(record.get("config_file", ""))
    yield "esegeta", str(record.get("esegeta", ""))
    if record.get("state"):
        yield "state", run.folder.state
    if record.get("started"):
        yield "started", str(record["started"])
    if record.get("seconds") is not None:
        yield "seconds", str(record["seconds"])
    if device:
        parts = (device.get("type"), device.get("name"))
        yield "device", ", ".join(str(part) for part in parts if part)
    for key, value in network.items():
        yield f"network: {key.replace('_', ' ')}", _in_words(value)
    yield "seed", str(record.get("seed", ""))
    if run.tasks:
        yield "tasks", f"{len(run.sidecars)} maps of {len(run.tasks)} tasks"


def _in_words(value: object) -> str:
    """Return a value of a record as text without brackets or quotes; empty parts are left out."""
    if isinstance(value, Mapping):
        parts = {key.replace("_", " "): _in_words(part) for key, part in value.items()}
        return ", ".join(f"{key} {text}" for key, text in parts.items() if text)
    if isinstance(value, (list, tuple)):
        return "; ".join(text for text in map(_in_words, value) if text)
    return "" if value is None else str(value)


def _hashes(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    weights = record.get("weights_sha256")
    for number, sha in enumerate(weights if isinstance(weights, list) else [weights], start=1):
        if sha:
            yield "weights" if not isinstance(weights, list) else f"weights {number}", str(sha)
    if record.get("code_sha256"):
        yield "code of the network", str(record["code_sha256"])
    for path, sha in (record.get("inputs_sha256") or {}).items():
        yield str(path), str(sha)


def citations(
    runs: Sequence[ReportRun], block: str, table: Mapping[str, type[Any]]
) -> Iterator[Citation]:
    """Yield what each method or score of some runs is, and whom to cite for it."""
    own = [
        run.folder.method_names if block == "methods" else run.folder.score_names for run in runs
    ]
    names = (name for some in own for name in some.values())
    for name in dict.fromkeys(names):
        if name in table:
            summary, source = told_of(table[name])
            yield Citation(name, summary, source)


def told_of(kind: type[Any]) -> tuple[str, str]:
    """Return the first sentences of a docstring, and the source that it names."""
    text = inspect.getdoc(kind) or ""
    summary = text.partition("\n\n")[0]
    source = re.search(r"^Source: (.*?)(?:\n\n|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(summary.split()), " ".join(source[1].split()) if source else ""


def methods_to_cite(runs: Sequence[ReportRun]) -> tuple[Citation, ...]:
    """Return the methods of some runs."""
    return tuple(citations(runs, "methods", METHODS))


def scores_to_cite(runs: Sequence[ReportRun]) -> tuple[Citation, ...]:
    """Return the scores of some runs."""
    return tuple(citations(runs, "scores", ALL_SCORES))
