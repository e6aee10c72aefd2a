"""Experiments that ask Slurm for workers."""

from __future__ import annotations

from pathlib import Path

from tests.experiments import Lab
from tests.workflow.spread.faulty import faulty_lab

TWO_JOBS = {
    "kind": "slurm",
    "workers": 2,
    "gpus_per_worker": 1,
    "cpus_per_worker": 1,
    "memory_gb": 4,
    "walltime": "00:30:00",
    "queue": "low",
    "options": ["--requeue"],
    "prologue": ["export UNSET=$NOT_SET_ANYWHERE"],  # as scripts of modules have it
}


def slurm_lab(folder: Path, cases: int, pause_s: float = 0.1, **changes: object) -> Lab:
    lab = faulty_lab(folder, cases=cases, pause_s=pause_s)
    lab.keys["cluster"] = {**TWO_JOBS, **changes}
    return lab
