"""run.json and the tables of a run: what was run, with what, on what, and how each task ended."""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from esegeta.report.files import UNITS
from esegeta.report.shapes import RunTold, read_told
from esegeta.results_folder import (
    CURVES_TABLE,
    PREDICTIONS_TABLE,
    REGIONS_TABLE,
    RUN_RECORD,
    SCORES_TABLE,
)
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.command import CommandState
from esegeta.workflow.lineage import LINEAGE, as_plain, lineage_in
from esegeta.workflow.rows_before import OF_TASK, Rows, RowsBefore
from esegeta.workflow.scored import scored_before
from esegeta.workflow.stale import LISTED, find_stale
from esegeta.workflow.standing import Stopwatch
from esegeta.workflow.task import Ended, Kind

KEPT_BY = "kept_by"
"""Stands in the record of a map that no config lists."""

PACKAGES = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scipy", "captum")


class Recorder:
    """Writes the tables and run.json of a run from how its tasks ended, each time whole.

    Args:
        experiment: experiment that is run.
        prediction: kind of the steps that maps stand on.
    """

    def __init__(self, experiment: Experiment, prediction: Kind) -> None:
        self._experiment = experiment
        self._prediction = prediction
        self._watch = Stopwatch()
        self._head = describe_experiment(experiment)
        self._kept = kept_entries(experiment.root)
        self._steps: Sequence[Ended] = ()
        self._processes: Sequence[Mapping[str, Any]] = ()
        sizes = (experiment.cases, experiment.targets, experiment.methods)
        self._num_tasks = math.prod(len(one) for one in sizes)  # as far as is known beforehand
        self._before = RowsBefore(experiment.root)

    def take_steps(self, steps: Sequence[Ended]) -> None:
        """Take how steps have ended so far, predictions among them."""
        self._steps = steps

    def take_processes(self, processes: Sequence[Mapping[str, Any]]) -> None:
        """Take which processes have worked on it: host, device and GPU of each."""
        self._processes = processes

    def write(self, results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        before = {} if state.has_ended else self._rows_beside(results)
        write_tables(self._experiment, results, before)
        self._write_predictions(before.get(PREDICTIONS_TABLE, ()))
        root = self._experiment.root
        record = {
            **self._head,
            **({"processes": list(self._processes)} if self._processes else {}),
            LINEAGE: as_plain(lineage_in(root)),
            **self._watch.standing(state, notes, num_tasks=self._num_tasks),
            "inputs_sha256": inputs_sha256(itertools.chain(self._predictions(), results)),
            LISTED: self._stale(results) if state.has_ended else [],
        }
        # `units` are its tasks, under a key that whoever reads run.json relies on.
        units, predictions = self._units(results), describe_predictions(self._predictions())
        write_record(root, {**record, UNITS: units, "predictions": predictions})

    def _stale(self, results: Iterable[Ended]) -> list[str]:
        predictions = describe_predictions(self._predictions())
        return find_stale(self._experiment.root, self._units(results), predictions)

    def _predictions(self) -> Iterator[Ended]:
        return (step for step in self._steps if step.task.kind is self._prediction)

    def _rows_beside(self, results: Iterable[Ended]) -> Rows:
        """Return the rows of the tables that stay as long as their task has not ended."""
        ended = itertools.chain(results, self._predictions())
        return self._before.without(one.task.data["names"].values() for one in ended)

    def _write_predictions(self, kept: Iterable[Sequence[str]]) -> None:
        """Write predictions.csv where something is expected, or `esegeta predict` has left one."""
        root = self._experiment.root
        is_wanted = any(case.expected is not None for case in self._experiment.cases)
        if is_wanted or (root / PREDICTIONS_TABLE).is_file():
            write_predictions(root, prediction_rows(self._predictions()), kept)

    def _units(self, results: Iterable[Ended]) -> Iterator[dict[str, Any]]:
        """Yield how tasks ended, then the maps that were kept one by one and are not made here."""
        beside = {tuple(entry[key] for key in OF_TASK): entry for entry in self._kept}
        for ended in results:
            yield described(ended)
            beside.pop(tuple(ended.task.data["names"].values()), None)
        yield from beside.values()


def write_tables(experiment: Experiment, results: Sequence[Ended], before: Rows) -> None:
    """Write scores.csv, curves.csv and, where maps are aggregated, regions.csv, by task.

    Args:
        experiment: what they are of.
        results: how its tasks ended so far.
        before: rows that stay as long as their task has not ended.
    """
    root = experiment.root
    rows = (row for ended in results for row in scored_before(ended.content).rows)
    write_scores(root, rows, before.get(SCORES_TABLE, ()))
    curves = (curve for ended in results for curve in scored_before(ended.content).curves)
    write_curves(root, curves, before.get(CURVES_TABLE, ()))
    if experiment.atlases is None:
        remove_regions(root)
        return
    regions = (
        (names["case"], names["target"], names["method"], region_row(row))
        for ended in results
        for names in [ended.task.data["names"]]
        for row in ended.content.get("regions", ())
    )
    write_regions(root, regions, before.get(REGIONS_TABLE, ()))


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


def describe_predictions(results: Iterable[Ended]) -> Iterator[dict[str, Any]]:
    """Yield how predictions ended and how well they agree with the expected, for run.json."""
    for ended in results:
        named = {key: ended.content.get(key) for key in ("dice", "expected", "fingerprint")}
        yield {**described(ended), **named}


def prediction_rows(results: Iterable[Ended]) -> Iterator[PredictionRow]:
    """Yield the lines of predictions.csv."""
    for ended in results:
        for row in ended.content.get("agreement", ()):
            yield PredictionRow(
                ended.task.data["names"]["case"],
                row["label"],
                row.get("dice"),
                row.get("num_voxels_expected"),
                row["num_voxels_predicted"],
            )


def inputs_sha256(results: Iterable[Ended]) -> dict[str, str]:
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
    path = root / RUN_RECORD
    # Most runs have kept none, and a whole record may be of hundreds of thousands of tasks.
    record = read_told(path, RunTold) if _mentions(path, KEPT_BY) else None
    return [
        dict(entry)
        for entry in (record or {}).get("units") or ()
        if {KEPT_BY, *OF_TASK} <= set(entry) and _is_there(root, entry)
    ]


def _mentions(path: Path, word: str) -> bool:
    try:
        with path.open("rb") as stream:
            return any(word.encode() in line for line in stream)
    except OSError:
        return False


def _is_there(root: Path, entry: Mapping[str, Any]) -> bool:
    name = f"{entry.get('case')}_label-{entry.get('target')}_desc-{entry.get('method')}_attrmap"
    return (root / str(entry.get("case")) / f"{name}.nii.gz").is_file()
