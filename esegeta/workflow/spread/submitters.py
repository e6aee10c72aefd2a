"""Where workers come from: this machine, a batch system, an allocation, or somebody else.

Batch systems are spoken to by dask-jobqueue, through one function: `batch_cluster`. Whoever wants
another way to submit jobs replaces it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask
import dask_jobqueue
import torch
from distributed import Nanny, Scheduler, SpecCluster
from distributed.security import Security

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError

MOST_CPU_WORKERS = 4
HOST = "127.0.0.1"
CLOSING_S = 20
SUBMITTERS: Mapping[str, tuple[str, str]] = {
    "slurm": ("SLURMCluster", "sbatch"),
    "pbs": ("PBSCluster", "qsub"),
    "sge": ("SGECluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
    "htcondor": ("HTCondorCluster", "condor_submit"),
}
"""Kinds of batch systems: who submits to them, and the program that must be there."""

SETTINGS: Mapping[str, Any] = {
    # A worker is given no task before it has ended the one before: else one that dies takes
    # tasks along that it never began.
    "distributed.scheduler.worker-saturation": 1.0,
    # Whoever dies is looked into at once, by its journal; see the controller.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": True,
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.tick.limit": "60s",  # an explanation holds the interpreter for long
    "distributed.logging.distributed": "critical",
}


@contextmanager
def cluster_of(
    keys: ClusterKeys, security: Security, folder: Path, name: str
) -> Iterator[SpecCluster]:
    """Yield a running cluster; its workers end with it.

    Args:
        keys: what is asked for.
        security: of its ports.
        folder: hidden one of the run, for logs.
        name: of the run, by which jobs are called.

    Raises:
        ConfigError: it cannot be had.
    """
    with dask.config.set(SETTINGS):
        if keys.kind == "allocation":
            with allocated_cluster(security, folder) as allocated:
                yield allocated
            return
        if keys.kind == "local":
            cluster: Any = local_cluster(keys, security)
        else:
            cluster = batch_cluster(keys, security, folder, name)
        try:
            yield cluster
        finally:
            with suppress(TimeoutError):  # what was done is on disk, however workers end
                cluster.close(timeout=CLOSING_S)


def num_workers_of(keys: ClusterKeys) -> int:
    """Return how many processes work when all have come; those of an address can be counted."""
    if keys.kind == "local":
        return num_local_workers(keys, len(visible_gpus()), os.cpu_count() or 1)
    if keys.kind == "allocation":
        return int(os.environ.get("SLURM_NTASKS") or os.environ.get("SLURM_NNODES") or 1)
    return (keys.num_workers or 1) * keys.tasks_per_gpu


def num_local_workers(keys: ClusterKeys, num_gpus: int, num_cpus: int) -> int:
    """Return how many processes: as many as are asked for, one a GPU, or a few without any."""
    if keys.num_workers is not None:
        return keys.num_workers
    if num_gpus:
        return max(1, num_gpus // max(1, keys.gpus_per_worker)) * keys.tasks_per_gpu
    return max(1, min(MOST_CPU_WORKERS, num_cpus // 2))


def gpus_of(number: int, keys: ClusterKeys, gpus: list[str]) -> str | None:
    """Return CUDA_VISIBLE_DEVICES of a local worker; None where there are no GPUs.

    No two share one, unless `tasks_per_gpu` lets them.

    Raises:
        ConfigError: there are not so many GPUs.
    """
    if not gpus or not keys.gpus_per_worker:
        return None if not gpus else ""
    first = number // keys.tasks_per_gpu * keys.gpus_per_worker
    own = gpus[first : first + keys.gpus_per_worker]
    if len(own) < keys.gpus_per_worker:
        raise ConfigError(
            f"workers: worker {number + 1} has no GPU of its own; {len(gpus)} are visible",
            hint="ask for fewer workers, or let them share one with `tasks_per_gpu`",
        )
    return ",".join(own)


def visible_gpus() -> list[str]:
    """Return the GPUs of this process, as CUDA_VISIBLE_DEVICES names them."""
    count = torch.cuda.device_count()
    named = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return (named or [str(number) for number in range(count)])[:count]


def local_cluster(keys: ClusterKeys, security: Security) -> SpecCluster:
    """Return processes of this machine, each with GPUs of its own."""
    gpus = visible_gpus()
    workers = {}
    threads = os.environ.get("OMP_NUM_THREADS", str(keys.cpus_per_worker))
    for number in range(num_local_workers(keys, len(gpus), os.cpu_count() or 1)):
        own = gpus_of(number, keys, gpus)
        env = {"OMP_NUM_THREADS": threads}
        if own is not None:
            env["CUDA_VISIBLE_DEVICES"] = own
        workers[number] = {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": 0,
                "env": env,
                "name": str(number + 1),
                "host": HOST,
                "protocol": "tls://",
                "security": security,
                "dashboard": False,
                "local_directory": _scratch(keys),
                "silence_logs": "CRITICAL",
            },
        }
    scheduler = {"cls": Scheduler, "options": _scheduler_options(security, HOST)}
    return SpecCluster(
        workers=workers, scheduler=scheduler, security=security, silence_logs="CRITICAL"
    )


@contextmanager
def allocated_cluster(security: Security, folder: Path) -> Iterator[SpecCluster]:
    """Yield a cluster whose workers are the tasks of the allocation that this process runs in.

    Raises:
        ConfigError: it does not run in one.
    """
    if not os.environ.get("SLURM_JOB_ID"):
        raise ConfigError(
            "--cluster allocation: this is not inside a Slurm allocation",
            hint="call it in a script for sbatch, or in salloc; or give a file with the keys of "
            "`cluster`",
        )
    require_program("allocation", "srun")
    scheduler = {"cls": Scheduler, "options": _scheduler_options(security, None)}
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with SpecCluster(
        workers={}, scheduler=scheduler, security=security, silence_logs="CRITICAL"
    ) as cluster:
        own = security.get_tls_config_for_role("worker")
        flags = [
            word
            for key in ("ca_file", "cert", "key")
            for word in (f"--tls-{key.replace('_', '-')}", str(own[key]))
        ]
        command = [
            *("srun", "--kill-on-bad-exit=0", "--cpu-bind=none"),
            f"--output={logs}/srun-%j.%t.log",
            *(sys.executable, "-m", "esegeta.workflow.spread.pinned", cluster.scheduler_address),
            *("--nthreads", "1", "--nanny", "--no-dashboard", "--death-timeout", "60"),
            *("--local-directory", tempfile.gettempdir(), *flags),
        ]
        with subprocess.Popen(command) as process:
            try:
                yield cluster
            finally:
                process.terminate()


def _scheduler_options(security: Security, host: str | None) -> dict[str, Any]:
    options = {
        "protocol": "tls://",
        "security": security,
        "port": 0,
        "dashboard_address": f"{HOST}:0",
    }
    return {**options, "host": host} if host else options


def _scratch(keys: ClusterKeys) -> str:
    return os.path.expandvars(keys.scratch) if keys.scratch else tempfile.gettempdir()


def batch_cluster(
    keys: ClusterKeys, security: Security, folder: Path, name: str
) -> dask_jobqueue.JobQueueCluster:
    """Return jobs of a batch system, a worker a job; jobs that are lost are submitted again.

    Raises:
        ConfigError: the batch system is not there, or refuses such jobs.
    """
    class_name, program = SUBMITTERS[keys.kind]
    require_program(keys.kind, program)
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    cluster = getattr(dask_jobqueue, class_name)(
        security=security,
        scheduler_options=_scheduler_options(security, None),
        **job_settings(keys, logs, name),
        **job_options(keys),
    )
    try:
        require_accepted(keys.kind, cluster.job_script())
        count = keys.num_workers or 1
        cluster.adapt(minimum=count * keys.tasks_per_gpu, maximum=count * keys.tasks_per_gpu)
    except BaseException:
        cluster.close()
        raise
    return cluster


def job_settings(keys: ClusterKeys, logs: Path, name: str) -> dict[str, Any]:
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
        "log_directory": str(logs),
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
            "walltime": _minutes(keys.walltime),
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


def _minutes(walltime: str) -> str:
    """Return hours and minutes, as LSF has them."""
    days, _, rest = walltime.rpartition("-")
    hours, minutes, _ = rest.split(":")
    return f"{int(days or 0) * 24 + int(hours):02d}:{minutes}"


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
        words = found.stderr.strip() or found.stdout.strip()
        raise ConfigError(
            f"cluster: Slurm refuses such a job: {words}",
            hint="`sinfo` lists partitions; change queue, account, options or what a worker gets",
        )
