"""run.json: what was run, with what, on what, and how each task ended."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

import torch

from esegeta.explain import parameters_of
from esegeta.report import write_record
from esegeta.workflow.build import Experiment
from esegeta.workflow.outcome import TaskResult

PACKAGES = ("torch", "monai", "nibabel", "SimpleITK", "numpy", "scipy", "captum")


class Recorder:
    """Writes run.json again and again while a run goes on, each time whole.

    Args:
        experiment: what is run.
    """

    def __init__(self, experiment: Experiment) -> None:
        from esegeta import __version__

        self.version = __version__
        self.inputs: dict[str, str] = {}
        self._experiment = experiment
        self._start = time.perf_counter()
        self._head = describe_experiment(experiment)

    def write(self, results: Sequence[TaskResult], state: str) -> None:
        """Write the record as things stand."""
        write_record(
            self._experiment.root,
            {
                **self._head,
                "state": state,
                "seconds": round(time.perf_counter() - self._start, 3),
                "inputs_sha256": self.inputs,
                "units": [_unit(result) for result in results],
            },
        )


def describe_experiment(experiment: Experiment) -> dict[str, Any]:
    """Return what is run, with which versions, on what, as plain values; `started` is now."""
    from esegeta import __version__

    device = experiment.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
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
        "device": {"type": str(device), "name": name, "threads": torch.get_num_threads()},
        "network": {"parameters": parameters, "outputs": experiment.predictor.labels.num_outputs},
        "weights_sha256": experiment.weights_sha256,
        "code_sha256": experiment.code_sha256,
        "notes": list(experiment.notes),
    }


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def _unit(result: TaskResult) -> dict[str, Any]:
    return {
        "case": result.case,
        "target": result.target,
        "method": result.method,
        "status": result.status,
        "seconds": round(result.seconds, 3),
        "message": result.message,
        "warnings": list(result.warnings),
        **({"traceback": result.traceback} if result.traceback else {}),
    }
