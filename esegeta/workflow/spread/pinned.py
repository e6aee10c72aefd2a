"""`python -m esegeta.workflow.spread.pinned ARGUMENTS`: a Dask worker with a GPU of its own.

`srun` shows all GPUs of a node to all of its workers; each takes those that are its share.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping


def own_gpus(environment: Mapping[str, str]) -> str | None:
    """Return the GPUs of this worker among those of its node; None where nothing is to be chosen.

    Args:
        environment: as `srun` sets it.
    """
    visible = [one for one in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    place = int(environment.get("SLURM_LOCALID", "0"))
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_NTASKS", "1"))
    count = int(tasks.split("(")[0].split(",")[0])
    if len(visible) < 2 or count < 2:
        return None
    share = max(1, len(visible) // count)
    first = place * share % len(visible)
    return ",".join(visible[first : first + share])


def main() -> None:
    """Choose GPUs, and become a worker."""
    gpus = own_gpus(os.environ)
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    command = [sys.executable, "-m", "distributed.cli.dask_worker", *sys.argv[1:]]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
