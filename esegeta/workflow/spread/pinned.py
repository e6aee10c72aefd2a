"""`python -m esegeta.workflow.spread.pinned SHARING ARGUMENTS`: a Dask worker with GPUs of its own.

`srun` shows all GPUs of a node to all of its workers; each takes those that are its share. SHARING
is how many may share a GPU. Where a node has more tasks than its GPUs allow, those that are too
many end without having become workers.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from itertools import takewhile

GPU = re.compile(r"\d+|(?:GPU|MIG)-\S+")


def own_gpus(environment: Mapping[str, str], sharing: int = 1) -> str | None:
    """Return the GPUs of this worker among those of its node; "" where none is left for it.

    None: there is nothing to choose, since the node has no GPUs or no other worker, or since Slurm
    itself shows each worker its own.

    Args:
        environment: as `srun` sets it.
        sharing: how many workers may have the same GPU.
    """
    named = (one.strip() for one in environment.get("CUDA_VISIBLE_DEVICES", "").split(","))
    visible = list(takewhile(GPU.fullmatch, named))
    place, count = int(environment.get("SLURM_LOCALID", "0")), _tasks_here(environment)
    on_node = environment.get("SLURM_GPUS_ON_NODE", "")
    are_bound = on_node.isdecimal() and len(visible) < int(on_node)
    if not visible or count < 2 or are_bound:
        return None
    if count > len(visible):
        most = len(visible) * tasks_a_gpu(environment, sharing)
        return visible[place % len(visible)] if place < most else ""
    share = len(visible) // count
    return ",".join(visible[place * share : (place + 1) * share])


def tasks_a_gpu(environment: Mapping[str, str], sharing: int) -> int:
    """Return how many workers may have the same GPU; Slurm can have been asked to let them too."""
    return max(sharing, int(environment.get("SLURM_NTASKS_PER_GPU") or 1))


def _tasks_here(environment: Mapping[str, str]) -> int:
    """Return how many workers this node has."""
    told = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_NTASKS", "1"))
    tasks = tasks_on_nodes(told)
    node = int(environment.get("SLURM_NODEID", "0"))
    return tasks[node] if node < len(tasks) else tasks[-1]


def tasks_on_nodes(told: str) -> list[int]:
    """Return how many tasks each node has, from Slurm's way to put it: `2(x3),1`."""
    found: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", told):
        found += [int(tasks)] * int(times or 1)
    return found or [1]


def main() -> None:
    """Choose GPUs, and become a worker; or end, where there is no GPU to work on."""
    sharing = int(sys.argv[1])
    gpus = own_gpus(os.environ, sharing)
    if gpus == "":
        print(
            f"no worker here: this node has {_tasks_here(os.environ)} tasks for its GPUs "
            f"{os.environ['CUDA_VISIBLE_DEVICES']}, and tasks_per_gpu is {sharing}; give fewer "
            "tasks, more GPUs, or a higher tasks_per_gpu",
            file=sys.stderr,
        )
        return
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    command = [sys.executable, "-m", "distributed.cli.dask_worker", *sys.argv[2:]]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
