"""Where workers come from: this machine, a batch system, an allocation, or somebody else.

Batch systems are spoken to by dask-jobqueue, through one function: `batch_cluster`. Whoever wants
another way to submit jobs replaces it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask_jobqueue
from dask_jobqueue.core import Job
from distributed import Nanny, Scheduler, SpecCluster
from distributed.deploy.spec import ProcessInterface
from distributed.security import Security

from esegeta.config.cluster import ClusterKeys
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.jobs import SUBMITTERS, job_options, job_settings
from esegeta.workflow.spread.own_gpus import gpus_of, num_local_workers, visible_gpus
from esegeta.workflow.spread.scratch_folder import local_scratch
from esegeta.workflow.spread.supply import (
    AllocationSupply,
    BatchSupply,
    EndlessSupply,
    SchedulerSupply,
    listed_jobs,
)

HOST = "127.0.0.1"
CLOSING_S = 20
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


Supply = BatchSupply | AllocationSupply | SchedulerSupply | EndlessSupply


@contextmanager
def cluster_of(
    keys: ClusterKeys, security: Security, folder: SharedFolder, name: str
) -> Iterator[tuple[SpecCluster, Supply]]:
    """Yield a running cluster, and what looks after its workers; they end with it.

    Args:
        keys: what is asked for.
        security: of its ports.
        folder: of the run, for logs.
        name: of the run, by which jobs are called.
    """
    with dask.config.set(SETTINGS):
        if keys.kind == "allocation":
            with allocated_cluster(keys, security, folder.logs) as allocated:
                yield allocated
            return
        supply: Supply
        if keys.kind == "local":
            cluster: Any = local_cluster(keys, security)
            supply = EndlessSupply()
        else:
            cluster = batch_cluster(keys, security, folder.logs, name)
            supply = BatchSupply(cluster, folder.logs, partial(listed_jobs, keys.kind))
        try:
            yield cluster, supply
        finally:
            with suppress(TimeoutError):  # what was done is on disk, however workers end
                cluster.close(timeout=CLOSING_S)


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
                "local_directory": local_scratch(keys),
                "silence_logs": "CRITICAL",
            },
        }
    scheduler = {"cls": Scheduler, "options": _scheduler_options(security, HOST)}
    return SpecCluster(
        workers=workers, scheduler=scheduler, security=security, silence_logs="CRITICAL"
    )


@contextmanager
def allocated_cluster(
    keys: ClusterKeys, security: Security, logs: Path
) -> Iterator[tuple[SpecCluster, AllocationSupply]]:
    """Yield a cluster whose workers are the tasks of the allocation that this process runs in."""
    scheduler = {"cls": Scheduler, "options": _scheduler_options(security, None)}
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
            # Tasks that have no GPU end at once, and the others are to stay.
            *("srun", "--kill-on-bad-exit=0", "--wait=0", "--cpu-bind=none"),
            f"--output={logs}/srun-%j.%t.log",
            *(sys.executable, "-m", "esegeta.workflow.spread.pinned", str(keys.tasks_per_gpu)),
            cluster.scheduler_address,
            *("--nthreads", "1", "--nanny", "--no-dashboard", "--death-timeout", "60"),
            *("--local-directory", tempfile.gettempdir(), *flags),
        ]
        with subprocess.Popen(command) as process:
            try:
                yield cluster, AllocationSupply(process, logs)
                _send_home(cluster, process)
            finally:
                process.terminate()


def _send_home(cluster: SpecCluster, srun: subprocess.Popen[bytes]) -> None:
    """Let workers end by themselves; srun calls those that are stopped killed, as after a fault."""
    scheduler = cluster.scheduler
    with suppress(TimeoutError, subprocess.TimeoutExpired):
        cluster.sync(scheduler.retire_workers, list(scheduler.workers), callback_timeout=CLOSING_S)
        srun.wait(timeout=CLOSING_S)


def _scheduler_options(security: Security, host: str | None) -> dict[str, Any]:
    options = {
        "protocol": "tls://",
        "security": security,
        "port": 0,
        "dashboard_address": f"{HOST}:0",
    }
    return {**options, "host": host} if host else options


def remembering_refusals(kind: type[Job]) -> type[Job]:
    """Return jobs that keep the words with which the batch system refuses them, as `refusal`.

    Dask would print them, and neither submit the job again nor tell anybody that it is missing.
    """

    class RememberingJob(kind):  # type: ignore[misc]
        refusal = ""

        async def start(self) -> None:
            try:
                await super().start()
            except (RuntimeError, ValueError, OSError) as error:
                self.refusal = " ".join(str(error).rpartition("stderr:")[2].split())
                await ProcessInterface.start(self)

        async def close(self) -> None:
            await super().close()
            await ProcessInterface.close(self)  # else Dask takes a job that it holds for running

    return RememberingJob


def batch_cluster(
    keys: ClusterKeys, security: Security, logs: Path, name: str
) -> dask_jobqueue.JobQueueCluster:
    """Return jobs of a batch system, a worker a job; jobs that are lost are submitted again."""
    class_name, _ = SUBMITTERS[keys.kind]
    logs.mkdir(parents=True, exist_ok=True)
    kind = getattr(dask_jobqueue, class_name)
    cluster = kind(
        job_cls=remembering_refusals(kind.job_cls),
        security=security,
        scheduler_options=_scheduler_options(security, None),
        **job_settings(keys, logs, name),
        **job_options(keys),
    )
    try:
        count = keys.num_workers or 1
        cluster.adapt(minimum=count * keys.tasks_per_gpu, maximum=count * keys.tasks_per_gpu)
    except BaseException:
        cluster.close()
        raise
    return cluster
