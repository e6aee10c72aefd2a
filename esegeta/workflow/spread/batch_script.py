"""A plain array script around `--part`, for clusters on which no controller may stay."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from esegeta.config import RunConfig
from esegeta.errors import ConfigError
from esegeta.workflow.spread.jobs import SUBMITTERS, whole_mb
from esegeta.workflow.spread.origin import Origin

DEFAULT_PARTS = 16

SCRIPT = """\
#!/bin/bash
# Made by `esegeta plan {config} --sbatch{chosen}`; edit it, then: sbatch THIS_FILE
#SBATCH --job-name={name}
#SBATCH --array=1-{parts}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --mem={memory_mb}M
#SBATCH --time={walltime}
{gpus}{queue}{account}{options}#SBATCH {requeue}
#SBATCH --open-mode=append
#SBATCH --signal=TERM@60
#SBATCH --output=%x-%A_%a.log
# --signal ends a part cleanly a minute before its time limit; --requeue restarts it after a
# preemption. Submitting the script again continues the work: finished tasks are skipped.
{prologue}export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-1}}"
srun esegeta {command} {arguments} --part "$SLURM_ARRAY_TASK_ID/{parts}"
# When all parts have ended, run once, on any machine that sees the folder:
#   esegeta gather {root}
# or as a job after this one (JOB is the number that sbatch printed):
#   sbatch --dependency=afterany:JOB --wrap {gather}
"""


def array_script(
    origin: Origin, config: RunConfig, parts: int | None = None, words: Sequence[str] = ()
) -> str:
    """Return a job script for Slurm that runs a command in parts.

    Args:
        origin: what is run.
        config: its config; a block `cluster` fills in what the batch system is asked for.
        parts: how many; by default the block's workers, or 16.
        words: further options of the command, as they stand on a command line.

    Raises:
        ConfigError: the block is for another batch system.
    """
    block = config.keys.cluster
    if block is not None and block.kind in SUBMITTERS and block.kind != "slurm":
        raise ConfigError(
            f"{config.document.place(('cluster', 'kind'))}: cluster.kind: {block.kind}: the array "
            "script is for Slurm",
            hint="use `submit`, or write a script of your own around --part",
        )
    if block is not None and block.kind != "slurm":
        block = None  # of this machine, say: nothing of it is meant for Slurm
    workers = None if block is None else block.num_workers
    count = parts or workers or DEFAULT_PARTS
    root = origin.root(config)
    arguments = [shlex.quote(word) for word in origin.subject]
    for override in origin.overrides:
        arguments += ["--set", shlex.quote(override)]
    arguments += ["-o", shlex.quote(str(root.parent))]
    if origin.device is not None:
        arguments += ["--device", origin.device]
    arguments += [shlex.quote(word) for word in words]
    gpus = 1 if block is None else block.gpus_per_worker
    return SCRIPT.format(
        config=origin.config,
        chosen="" if origin.command == "run" else f" --command {origin.command}",
        name=config.keys.name,
        parts=count,
        cpus=4 if block is None else block.cpus_per_worker,
        memory_mb=16 * 1024 if block is None else whole_mb(block),
        walltime="04:00:00" if block is None else block.walltime,
        gpus=f"#SBATCH --gres=gpu:{gpus}\n" if gpus else "",
        queue=f"#SBATCH --partition={block.queue}\n" if block and block.queue else "",
        account=f"#SBATCH --account={block.account}\n" if block and block.account else "",
        options="".join(f"#SBATCH {option}\n" for option in (block.options if block else ())),
        prologue="".join(f"{line}\n" for line in (block.prologue if block else ())),
        command=origin.command,
        requeue=requeue_of(words),
        arguments=" ".join(arguments),
        root=shlex.quote(str(root)),
        gather=shlex.quote(f"esegeta gather {shlex.quote(str(root))}"),
    )


def requeue_of(words: Sequence[str]) -> str:
    """Return whether Slurm may start a job again: not where it would begin from the start."""
    return "--no-requeue" if "--overwrite" in words else "--requeue"
