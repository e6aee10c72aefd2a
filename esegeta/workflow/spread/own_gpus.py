"""How many workers there are, and which GPUs each has for itself."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.workflow.spread.pinned import tasks_a_gpu, tasks_on_nodes

MOST_CPU_WORKERS = 4
MOST_A_CPU = 8
"""Processes of this machine for each of its CPUs; more only wait for each other."""


def num_workers_of(keys: ClusterKeys) -> int:
    """Return how many processes work when all have come; those of an address can be counted."""
    if keys.kind == "local":
        return num_local_workers(keys, len(visible_gpus()), os.cpu_count() or 1)
    if keys.kind == "allocation":
        return _num_allocated(os.environ, keys.tasks_per_gpu)
    return (keys.num_workers or 1) * keys.tasks_per_gpu


def _num_allocated(environment: Mapping[str, str], sharing: int) -> int:
    """Return how many tasks of an allocation become workers; nodes are taken to be alike in GPUs.

    In `salloc` Slurm does not tell how many GPUs there are, and all tasks are counted.
    """
    if not environment.get("SLURM_NTASKS"):
        return int(environment.get("SLURM_NNODES") or 1)  # `srun` starts one a node
    tasks, gpus = int(environment["SLURM_NTASKS"]), environment.get("SLURM_GPUS_ON_NODE", "")
    if not gpus.isdecimal() or not int(gpus):
        return tasks
    on_nodes = tasks_on_nodes(environment.get("SLURM_TASKS_PER_NODE", str(tasks)))
    most = int(gpus) * tasks_a_gpu(environment, sharing)
    return sum(min(number, most) for number in on_nodes)


def num_local_workers(keys: ClusterKeys, num_gpus: int, num_cpus: int) -> int:
    """Return how many processes: as many as are asked for, one a GPU, or a few without any.

    Raises:
        ConfigError: many more than the machine has CPUs.
    """
    if keys.num_workers is not None:
        most = max(MOST_A_CPU * num_cpus, num_gpus * keys.tasks_per_gpu)
        if keys.num_workers > most:
            raise ConfigError(
                f"workers: {keys.num_workers} on a machine with {num_cpus} CPUs",
                hint=f"give at most {most}, or auto",
            )
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
