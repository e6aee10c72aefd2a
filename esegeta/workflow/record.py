"""run.json and the tables of a run: what was run, with what, on what, and how each task ended."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from esegeta.explain import parameters_of
from esegeta.model import resolve_devices
from esegeta.report import (
    PredictionRow,
    region_row,
    remove_regions,
    write_curves,
    write_predictions,
    write_record,
    write_regions,
    write_scores,
)
from esegeta.report.csv_tables import (
    CURVE_COLUMNS,
    PREDICTION_COLUMNS,
    REGION_COLUMNS,
    SCORE_COLUMNS,
    read_rows,
    rows_of_others,
)
from esegeta.report.shapes import RunTold, read_told
from esegeta.results_folder import (
    CURVES_TABLE,
    PREDICTIONS_TABLE,
    REGIONS_TABLE,
    RUN_RECORD,
    SCORES_TABLE,
)
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.lineage import LINEAGE, as_plain, lineage_in
from esegeta.workflow.scored import scored_before
from esegeta.workflow.stale import LISTED, find_stale
from esegeta.workflow.task import Ended

KEPT_BY = "kept_by"
"""Stands in the record of a map that no config lists."""

TABLES: Mapping[str, Sequence[str]] = {
    SCORES_TABLE: SCORE_COLUMNS,
    CURVES_TABLE: CURVE_COLUMNS,
    REGIONS_TABLE: REGION_COLUMNS,
    PREDICTIONS_TABLE: PREDICTION_COLUMNS,
}
FINAL = ("complete", "incomplete", "failed")
"""States in which every task has ended."""
STOPPED_EARLY = "stopped at the first failure"
"""The note of a command that did not come to its other tasks."""

PACKAGES = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scipy", "captum")


class Recorder:
    """Writes the tables and run.json of a run from how its tasks ended, each time whole.

    Args:
        experiment: experiment that is run.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._start = time.perf_counter()
        self._head = describe_experiment(experiment)
        self._kept = kept_entries(experiment.root)
        self._predictions: Sequence[Ended] = ()
        self._processes: Sequence[Mapping[str, Any]] = ()
        sizes = (experiment.cases, experiment.targets, experiment.methods)
        self._num_tasks = math.prod(len(one) for one in sizes)  # as far as is known beforehand
        self._before = {
            name: read_rows(experiment.root / name, columns) for name, columns in TABLES.items()
        }

    def take_predictions(self, predictions: Sequence[Ended]) -> None:
        """Take how the predictions that maps stand on have ended so far."""
        self._predictions = predictions

    def take_processes(self, processes: Sequence[Mapping[str, Any]]) -> None:
        """Take which processes have worked on it: host, device and GPU of each."""
        self._processes = processes

    def write(self, results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        is_final = state in FINAL and STOPPED_EARLY not in notes
        before = {} if is_final else self._before
        write_tables(self._experiment, results, before)
        _write_predictions(self._experiment, self._predictions, before)
        root = self._experiment.root
        record = {
            **self._head,
            **({"processes": list(self._processes)} if self._processes else {}),
            LINEAGE: as_plain(lineage_in(root)),
            "notes": list(notes),
            "state": state,
            "num_tasks": self._num_tasks,
            "seconds": round(time.perf_counter() - self._start, 3),
            "inputs_sha256": inputs_sha256([*self._predictions, *results]),
            # its tasks, under a key that whoever reads run.json relies on
            "units": [*map(described, results), *self._kept_beside(results)],
            "predictions": describe_predictions(self._predictions),
        }
        write_record(root, {**record, LISTED: find_stale(root, record) if is_final else []})

    def _kept_beside(self, results: Sequence[Ended]) -> list[dict[str, Any]]:
        """Return the maps that were kept one by one and that this run does not make."""
        made = [tuple(ended.task.data["names"].values()) for ended in results]
        return [
            entry
            for entry in self._kept
            if (entry["case"], entry["target"], entry["method"]) not in made
        ]


Rows = Mapping[str, Sequence[Sequence[str]]]
"""Rows of tables as they stand in their files, by the file's name."""


def write_tables(experiment: Experiment, results: Sequence[Ended], before: Rows) -> None:
    """Write scores.csv, curves.csv and, where maps are aggregated, regions.csv, by task.

    Args:
        experiment: what they are of.
        results: how its tasks ended so far.
        before: rows that stay as long as their task has not ended.
    """
    ended = {_names_of(one) for one in results}
    kept = {name: rows_of_others(rows, ended) for name, rows in before.items()}
    scored = [scored_before(ended.content) for ended in results]
    rows = [row for one in scored for row in one.rows]
    write_scores(experiment.root, rows, kept.get(SCORES_TABLE, ()))
    write_curves(
        experiment.root,
        [curve for one in scored for curve in one.curves],
        kept.get(CURVES_TABLE, ()),
    )
    if experiment.atlases is None:
        remove_regions(experiment.root)
        return
    write_regions(
        experiment.root,
        [
            (*(names["case"], names["target"], names["method"]), region_row(row))
            for ended in results
            for names in [ended.task.data["names"]]
            for row in ended.content.get("regions", ())
        ],
        kept.get(REGIONS_TABLE, ()),
    )


def _names_of(ended: Ended) -> tuple[str, ...]:
    return tuple(str(name) for name in ended.task.data["names"].values())


def describe_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return what is run, with which versions, on what, as plain values; `started` is now."""
    return {
        **describe_basis(experiment),
        "methods": {key: parameters_of(value) for key, value in experiment.methods.items()},
        "scores": {key: parameters_of(value) for key, value in experiment.scores.items()},
    }


def describe_basis(basis: Basis) -> dict[str, Any]:
    """Return the same of a network and its cases, without methods and scores."""
    from esegeta import __version__

    device = basis.device
    further = [str(one) for one in resolve_devices(basis.config.keys.device)[1:]]
    parameters = sum(p.numel() for p in basis.predictor.network.parameters())
    return {
        "esegeta": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_file": str(basis.config.document.path),
        "config": basis.config.resolved(),
        "versions": {"python": platform.python_version(), **_versions()},
        "seed": basis.config.keys.seed,
        "device": {
            "type": str(device),
            **({"further": further} if further else {}),
            "name": _name_of(device),
            "threads": torch.get_num_threads(),
        },
        "network": {
            "parameters": parameters,
            "outputs": basis.predictor.labels.num_outputs,
            "members": basis.predictor.plan.num_members,
            "passes_per_window": len(basis.predictor.plan.passes),
            "weights": [loaded.describe() for loaded in basis.loaded],
        },
        "weights_sha256": basis.weights_sha256,
        "code_sha256": basis.code_sha256,
        "notes": list(basis.notes),
    }


def _name_of(device: torch.device) -> str:
    if device.type == "cpu":
        return platform.processor()
    return str(torch.get_device_module(device).get_device_name(device))


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def describe_predictions(results: Sequence[Ended]) -> list[dict[str, Any]]:
    """Return how predictions ended and how well they agree with the expected, for run.json."""
    return [
        {
            **described(ended),
            **{key: ended.content.get(key) for key in ("dice", "expected", "fingerprint")},
        }
        for ended in results
    ]


def prediction_rows(results: Sequence[Ended]) -> list[PredictionRow]:
    """Return the lines of predictions.csv."""
    return [
        PredictionRow(
            ended.task.data["names"]["case"],
            row["label"],
            row.get("dice"),
            row.get("num_voxels_expected"),
            row["num_voxels_predicted"],
        )
        for ended in results
        for row in ended.content.get("agreement", ())
    ]


def _write_predictions(experiment: Experiment, results: Sequence[Ended], before: Rows) -> None:
    """Write predictions.csv where something is expected, or `esegeta predict` has left one."""
    wanted = any(case.expected is not None for case in experiment.cases)
    if wanted or (experiment.root / PREDICTIONS_TABLE).is_file():
        kept = rows_of_others(
            before.get(PREDICTIONS_TABLE, ()), {_names_of(one) for one in results}
        )
        write_predictions(experiment.root, prediction_rows(results), kept)


def inputs_sha256(results: Sequence[Ended]) -> dict[str, str]:
    """Return the SHA-256 of the files that results were made of, by path."""
    found: dict[str, str] = {}
    for ended in results:
        found |= ended.task.data["inputs"] | ended.task.data.get("expected", {})
    return found


def described(ended: Ended) -> dict[str, Any]:
    """Return how a task ended, by its names, as plain values."""
    return {
        **ended.task.data["names"],
        "status": ended.status,
        "seconds": round(ended.seconds, 3),
        "message": ended.message,
        "warnings": list(ended.warnings),
        **({"degenerate": True} if ended.fault and ended.fault.is_degenerate else {}),
        **({"traceback": ended.traceback} if ended.traceback else {}),
    }


def described_by_name(ended: Ended) -> dict[str, Any]:
    """Return how a task ended that has no names of its own, as plain values."""
    return {"task": ended.name, **ending(ended)}


def ending(ended: Ended) -> dict[str, Any]:
    """Return how a task ended, without its names and its warnings."""
    return {
        "status": ended.status,
        "seconds": round(ended.seconds, 3),
        "message": ended.message,
        **({"traceback": ended.traceback} if ended.traceback else {}),
    }


def kept_entries(root: Path) -> list[dict[str, Any]]:
    """Return what run.json says of maps that were kept, whose files are there."""
    record = read_told(root / RUN_RECORD, RunTold) or {}
    return [
        dict(entry)
        for entry in record.get("units") or ()
        if {KEPT_BY, "case", "target", "method"} <= set(entry) and _is_there(root, entry)
    ]


def _is_there(root: Path, entry: Mapping[str, Any]) -> bool:
    name = f"{entry.get('case')}_label-{entry.get('target')}_desc-{entry.get('method')}_attrmap"
    return (root / str(entry.get("case")) / f"{name}.nii.gz").is_file()
