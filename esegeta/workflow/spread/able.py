"""Whether the workers that are asked for can be had: found out before anything is written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import dask_jobqueue
from distributed import Client

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.workflow.spread.jobs import SUBMITTERS, job_options, job_settings
from esegeta.workflow.spread.own_gpus import gpus_of, num_workers_of, visible_gpus
from esegeta.workflow.spread.scratch_folder import local_scratch

PATIENCE_S = 10
"""How long a scheduler may take to answer."""


def require_cluster(keys: ClusterKeys, name: str, logs: Path) -> None:
    """Refuse workers that cannot be had.

    Args:
        keys: what is asked for.
        name: of the run, by which jobs are called.
        logs: the folder for what jobs print; nothing is written there.

    Raises:
        ConfigError: there are not so many GPUs, `scratch` stands for no folder, this is no
            allocation, no scheduler answers, or the batch system is not there, refuses such jobs,
            or cannot write to that folder.
    """
    if keys.kind == "local":
        gpus_of(num_workers_of(keys) - 1, keys, visible_gpus())
        local_scratch(keys)
    elif keys.kind == "allocation":
        require_allocation()
    elif keys.kind == "address":
        require_scheduler(str(keys.address))
    else:
        class_name, program = SUBMITTERS[keys.kind]
        require_program(keys.kind, program)
        if any(letter.isspace() for letter in str(logs)):
            raise ConfigError(
                f"{logs}: job scripts cannot name a folder with a space in its path",
                hint="choose another output folder with `output:` or -o",
            )
        job = getattr(dask_jobqueue, class_name).job_cls(
            "tls://127.0.0.1:1",  # of no scheduler: the script is only shown
            name="worker",
            **job_settings(keys, None, name),
            **job_options(keys),
        )
        require_accepted(keys.kind, job.job_script())


def require_allocation() -> None:
    """Refuse to take the nodes of an allocation where there is none.

    Raises:
        ConfigError: this process runs in none.
    """
    if not os.environ.get("SLURM_JOB_ID"):
        raise ConfigError(
            "--cluster allocation: this is not inside a Slurm allocation",
            hint="run it in a script for sbatch, or in salloc; or give a file with the keys of "
            "`cluster`",
        )
    require_program("allocation", "srun")


def require_scheduler(address: str) -> None:
    """Refuse an address at which no Dask scheduler answers.

    Raises:
        ConfigError: nobody is there, or it speaks another protocol.
    """
    try:
        with Client(address, timeout=f"{PATIENCE_S}s", set_as_default=False):
            return
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"cluster.address: no Dask scheduler answers at {address}: {error}",
            hint="start one with `dask scheduler`; check host, port and, for tls://, "
            "distributed.comm.tls in Dask's own config",
        ) from error


def require_program(kind: str, program: str) -> None:
    """Refuse a batch system whose program is not there.

    Raises:
        ConfigError: it is not on PATH.
    """
    if shutil.which(program) is None:
        raise ConfigError(
            f"cluster.kind: {kind}: there is no `{program}` on PATH",
            hint="start this on a machine from which jobs can be submitted, or use kind: local",
        )


def require_accepted(kind: str, script: str) -> None:
    """Refuse what the batch system would refuse, in its own words; only Slurm can be asked.

    Raises:
        ConfigError: the queue does not exist, say, or has no such GPUs.
    """
    if kind != "slurm":
        return
    found = subprocess.run(
        ["sbatch", "--test-only"], input=script, capture_output=True, text=True, check=False
    )
    if found.returncode:
        words = words_of(found)
        hint = "`sinfo` lists partitions; change queue, account, options or what a worker gets"
        if "contact slurm controller" in words.lower():
            hint = "`sinfo` tells whether Slurm is up; try again once it is"
        raise ConfigError(f"cluster: Slurm refuses such a job: {words}", hint=hint)


def words_of(refusal: subprocess.CompletedProcess[str]) -> str:
    """Return what a program of a batch system says, on one line."""
    return " ".join((refusal.stderr.strip() or refusal.stdout).split())
