"""run.json and the tables of a run: what was run, with what, on what, and how each task ended."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import torch

from esegeta.explain import parameters_of
from esegeta.report import (
    region_row,
    remove_regions,
    write_curves,
    write_record,
    write_regions,
    write_scores,
)
from esegeta.workflow.build import Experiment
from esegeta.workflow.scoring import scored_before
from esegeta.workflow.task import Ended

PACKAGES = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scipy", "captum")


class Recorder:
    """Writes the tables and run.json of a run from how its tasks ended, each time whole.

    Args:
        experiment: what is run.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._start = time.perf_counter()
        self._head = describe_experiment(experiment)

    def write(self, results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
        """Write tables and record as things stand."""
        write_tables(self._experiment, results)
        inputs = {path: sha for ended in results for path, sha in ended.task.data["inputs"].items()}
        write_record(
            self._experiment.root,
            {
                **self._head,
                "notes": list(notes),
                "state": state,
                "seconds": round(time.perf_counter() - self._start, 3),
                "inputs_sha256": inputs,
                "units": [_described(ended) for ended in results],
            },
        )


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


def provenance(experiment: Experiment, inputs: Mapping[str, str]) -> dict[str, Any]:
    """Return where a result comes from, for its sidecar."""
    from esegeta import __version__

    return {
        "inputs_sha256": dict(inputs),
        "weights_sha256": experiment.weights_sha256,
        "esegeta": __version__,
    }


def describe_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return what is run, with which versions, on what, as plain values; `started` is now."""
    from esegeta import __version__

    device = experiment.device
    parameters = sum(p.numel() for p in experiment.predictor.network.parameters())
    return {
        "esegeta": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config_file": str(experiment.config.document.path),
        "config": experiment.config.resolved(),
        "methods": {key: parameters_of(value) for key, value in experiment.methods.items()},
        "scores": {key: parameters_of(value) for key, value in experiment.scores.items()},
        "versions": {"python": platform.python_version(), **_versions()},
        "seed": experiment.config.keys.seed,
        "device": {
            "type": str(device),
            "name": _name_of(device),
            "threads": torch.get_num_threads(),
        },
        "network": {
            "parameters": parameters,
            "outputs": experiment.predictor.labels.num_outputs,
            "members": experiment.predictor.plan.num_members,
            "passes_per_window": len(experiment.predictor.plan.passes),
        },
        "weights_sha256": experiment.weights_sha256,
        "code_sha256": experiment.code_sha256,
        "notes": list(experiment.notes),
    }


def _name_of(device: torch.device) -> str:
    if device.type == "cpu":
        return platform.processor()
    return str(torch.get_device_module(device).get_device_name(device))


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _described(ended: Ended) -> dict[str, Any]:
    return {
        **ended.task.data["names"],
        "status": ended.status,
        "seconds": round(ended.seconds, 3),
        "message": ended.message,
        "warnings": list(ended.warnings),
        **({"degenerate": True} if ended.fault and ended.fault.is_degenerate else {}),
        **({"traceback": ended.traceback} if ended.traceback else {}),
    }
