"""What a batch system is asked for, in its own words; nothing is submitted here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from esegeta.config.cluster import ClusterKeys

SUBMITTERS: Mapping[str, tuple[str, str]] = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "sge": ("SGECluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
    "htcondor": ("HTCondorCluster", "condor_submit"),
}
"""Kinds of batch systems: who submits to them, and the program that must be there."""


def job_settings(keys: ClusterKeys, logs: Path | None, name: str) -> dict[str, Any]:
    """Return what a job is, whatever batch system runs it."""
    prologue = [
        *keys.prologue,
        f"export OMP_NUM_THREADS={keys.cpus_per_worker}",
        *([] if keys.scratch is None else [f"mkdir -p {keys.scratch}"]),
    ]
    return {
        "cores": keys.cpus_per_worker,
        "processes": keys.tasks_per_gpu,
        "memory": f"{keys.memory_gb:g}GiB",
        "job_name": f"esegeta-{name}",
        "python": sys.executable,
        "local_directory": keys.scratch or "/tmp",
        "log_directory": None if logs is None else str(logs),
        "job_script_prologue": prologue,
        "death_timeout": 60,
        # A thread a worker: what runs at a time is one task.
        "worker_extra_args": ["--nthreads", "1", "--no-dashboard"],
    }


def job_options(keys: ClusterKeys) -> dict[str, Any]:
    """Return what a batch system is asked for, in its own words."""
    gpus, cpus, memory = keys.gpus_per_worker, keys.cpus_per_worker, f"{keys.memory_gb:g}"
    directives = list(keys.options)
    place: dict[str, Any] = {"queue": keys.queue, "walltime": keys.walltime}
    makers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "slurm": lambda: {
            **place,
            "account": keys.account,
            "job_extra_directives": [*([f"--gres=gpu:{gpus}"] if gpus else []), *directives],
        },
        "pbs": lambda: {
            **place,
            "account": keys.account,
            "resource_spec": f"select=1:ncpus={cpus}"
            + (f":ngpus={gpus}" if gpus else "")
            + f":mem={memory}gb",
            "job_extra_directives": directives,
        },
        "sge": lambda: {
            **place,
            "project": keys.account,
            "resource_spec": f"h_vmem={memory}G" + (f",gpu={gpus}" if gpus else ""),
            "job_extra_directives": directives,
        },
        "lsf": lambda: {
            **place,
            "walltime": hours_and_minutes(keys.walltime),
            "project": keys.account,
            "ncpus": cpus,
            "mem": int(keys.memory_gb * 2**30),
            "job_extra_directives": [*([f"-gpu num={gpus}"] if gpus else []), *directives],
        },
        "htcondor": lambda: {
            "disk": "1GiB",
            "job_extra_directives": {
                **({"request_gpus": str(gpus)} if gpus else {}),
                **({"accounting_group": keys.account} if keys.account else {}),
                **dict(_assignment(option) for option in directives),
            },
        },
    }
    return {key: value for key, value in makers[keys.kind]().items() if value is not None}


def _assignment(option: str) -> tuple[str, str]:
    key, _, value = option.partition("=")
    return key.strip(), value.strip()


def hours_and_minutes(walltime: str) -> str:
    """Return hours and minutes, as LSF has them."""
    days, _, rest = walltime.rpartition("-")
    hours, minutes, _ = rest.split(":")
    return f"{int(days or 0) * 24 + int(hours):02d}:{minutes}"
