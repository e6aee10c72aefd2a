"""What a batch system is asked for, in its own words; nothing is submitted here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from esegeta.config.cluster import ClusterKeys
from esegeta.workflow.spread.scratch_folder import job_scratch

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
    made, scratch = job_scratch(keys)
    prologue = [*keys.prologue, f"export OMP_NUM_THREADS={keys.cpus_per_worker}", *made]
    return {
        "cores": keys.cpus_per_worker,
        "processes": keys.tasks_per_gpu,
        "memory": f"{whole_mb(keys)}MiB",
        "job_name": f"esegeta-{name}",
        "python": sys.executable,
        "local_directory": scratch,
        "log_directory": None if logs is None else str(logs),
        "job_script_prologue": prologue,
        "death_timeout": 60,
        # A thread a worker: what runs at a time is one task.
        "worker_extra_args": ["--nthreads", "1", "--no-dashboard"],
    }


def job_options(keys: ClusterKeys) -> dict[str, Any]:
    """Return what a batch system is asked for, in its own words."""
    gpus, cpus, memory = keys.gpus_per_worker, keys.cpus_per_worker, whole_mb(keys)
    directives = list(keys.options)
    place: dict[str, Any] = {"queue": keys.queue, "walltime": walltime_of(keys)}
    makers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "slurm": lambda: {
            **place,
            "account": keys.account,
            "job_mem": f"{memory}M",
            "job_extra_directives": [*([f"--gres=gpu:{gpus}"] if gpus else []), *directives],
        },
        "pbs": lambda: {
            **place,
            "account": keys.account,
            "resource_spec": f"select=1:ncpus={cpus}"
            + (f":ngpus={gpus}" if gpus else "")
            + f":mem={memory}mb",
            "job_extra_directives": directives,
        },
        "sge": lambda: {
            **place,
            "project": keys.account,
            "resource_spec": f"h_vmem={memory}M" + (f",gpu={gpus}" if gpus else ""),
            "job_extra_directives": directives,
        },
        "lsf": lambda: {
            **place,
            "project": keys.account,
            "ncpus": cpus,
            "mem": memory * 2**20,
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


def whole_mb(keys: ClusterKeys) -> int:
    """Return the memory of a worker in MB; batch systems take no fraction of a GB."""
    return ceil(keys.memory_gb * 1024)


def walltime_of(keys: ClusterKeys) -> str:
    """Return the walltime as the batch system has it; only Slurm has days."""
    if keys.kind == "slurm":
        return keys.walltime
    days, _, rest = keys.walltime.rpartition("-")
    hours, minutes, seconds = (int(part) for part in rest.split(":"))
    hours += 24 * int(days or 0)
    if keys.kind != "lsf":
        return f"{hours:02d}:{minutes:02d}:{seconds:02d}"
    more, minutes = divmod(minutes + (seconds > 0), 60)  # it has no seconds
    return f"{hours + more:02d}:{minutes:02d}"
