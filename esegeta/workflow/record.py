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
from esegeta.report import (
    PREDICTIONS,
    PredictionRow,
    read_sidecar,
    region_row,
    remove_regions,
    write_curves,
    write_predictions,
    write_record,
    write_regions,
    write_scores,
)
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.maps import scored_before
from esegeta.workflow.task import Ended

RECORD = "run.json"
KEPT_BY = "kept_by"
"""Stands in the record of a map that no config lists."""

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
        self._kept = kept_units(experiment.root)
        self._predictions: Sequence[Ended] = ()
        self._processes: Sequence[Mapping[str, Any]] = ()
        sizes = (experiment.cases, experiment.targets, experiment.methods)
        self._num_tasks = math.prod(len(one) for one in sizes)  # as far as is known beforehand

    def take_predictions(self, predictions: Sequence[Ended]) -> None:
        """Take how the predictions that maps stand on have ended so far."""
        self._predictions = predictions

    def take_processes(self, processes: Sequence[Mapping[str, Any]]) -> None:
        """Take which processes have worked on it: host, device and GPU of each."""
        self._processes = processes

    def write(self, results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        write_tables(self._experiment, results)
        _write_predictions(self._experiment, self._predictions)
        write_record(
            self._experiment.root,
            {
                **self._head,
                **({"processes": list(self._processes)} if self._processes else {}),
                "notes": list(notes),
                "state": state,
                "num_tasks": self._num_tasks,
                "seconds": round(time.perf_counter() - self._start, 3),
                "inputs_sha256": inputs_sha256([*self._predictions, *results]),
                "units": [*map(described, results), *self._kept_beside(results)],
                "predictions": describe_predictions(self._predictions),
            },
        )

    def _kept_beside(self, results: Sequence[Ended]) -> list[dict[str, Any]]:
        """Return the maps that were kept one by one and that this run does not make."""
        made = [tuple(ended.task.data["names"].values()) for ended in results]
        return [
            unit
            for unit in self._kept
            if (unit["case"], unit["target"], unit["method"]) not in made
        ]


def write_tables(experiment: Experiment, results: Sequence[Ended]) -> None:
    """Write scores.csv, curves.csv and, where maps are aggregated, regions.csv, by task."""
    scored = [scored_before(ended.content) for ended in results]
    write_scores(experiment.root, [row for one in scored for row in one.rows])
    write_curves(experiment.root, [curve for one in scored for curve in one.curves])
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
    )


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


def _write_predictions(experiment: Experiment, results: Sequence[Ended]) -> None:
    """Write predictions.csv where something is expected, or `esegeta predict` has left one."""
    wanted = any(case.expected is not None for case in experiment.cases)
    if wanted or (experiment.root / PREDICTIONS).is_file():
        write_predictions(experiment.root, prediction_rows(results))


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


def kept_units(root: Path) -> list[dict[str, Any]]:
    """Return what run.json says of maps that were kept, whose files are there."""
    record = read_sidecar(root / RECORD) or {}
    units = record.get("units")
    return [
        dict(unit)
        for unit in (units if isinstance(units, list) else ())
        if isinstance(unit, Mapping) and unit.get(KEPT_BY) and _is_there(root, unit)
    ]


def _is_there(root: Path, unit: Mapping[str, Any]) -> bool:
    name = f"{unit.get('case')}_label-{unit.get('target')}_desc-{unit.get('method')}_attrmap"
    return (root / str(unit.get("case")) / f"{name}.nii.gz").is_file()
