"""The controller itself as a job: a small one without a GPU, which submits the workers'."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from esegeta.config import RunConfig
from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.volume import write_json, write_text
from esegeta.workflow.spread.able import require_accepted, require_cluster, words_of
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.jobs import SUBMITTERS, walltime_of
from esegeta.workflow.spread.origin import Origin

HEADERS: Mapping[str, tuple[str, ...]] = {
    "slurm": (
        "#SBATCH --job-name={name}",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=4G",
        "#SBATCH --output={log}",
        "#SBATCH --open-mode=append",
        "#SBATCH {requeue}",
        "#SBATCH --time={walltime}",
        "#SBATCH --signal=B:TERM@60",
        "#SBATCH --partition={queue}",
        "#SBATCH --account={account}",
    ),
    "pbs": (
        "#PBS -N {name}",
        "#PBS -l select=1:ncpus=1:mem=4gb",
        "#PBS -j oe",
        "#PBS -o {log}",
        "#PBS {requeue}",
        "#PBS -l walltime={walltime}",
        "#PBS -q {queue}",
        "#PBS -A {account}",
    ),
    "sge": (
        "#$ -N {name}",
        "#$ -j y",
        "#$ -o {log}",
        "#$ {requeue}",
        "#$ -l h_rt={walltime}",
        "#$ -q {queue}",
        "#$ -P {account}",
    ),
    "lsf": (
        "#BSUB -J {name}",
        "#BSUB -n 1",
        "#BSUB -o {log}",
        "#BSUB {requeue}",
        "#BSUB -W {walltime}",
        "#BSUB -q {queue}",
        "#BSUB -P {account}",
    ),
}
"""Lines of a job script by batch system; those of what is not given are left out."""


REQUEUED: Mapping[str, tuple[str, str]] = {
    "slurm": ("--requeue", "--no-requeue"),
    "pbs": ("-r y", "-r n"),
    "sge": ("-r y", "-r n"),
    "lsf": ("-r", "-rn"),
}
"""How a batch system is told that it may start a job again, and that it may not."""


def controller_script(
    origin: Origin,
    config: RunConfig,
    keys: ClusterKeys,
    cluster_file: Path | None,
    options: Sequence[str] = (),
) -> str:
    """Return the job script of a controller.

    Args:
        origin: what it does.
        config: its config.
        keys: the cluster that it asks for workers.
        cluster_file: the file with these keys; None where the config has them.
        options: further ones of the command, as they stand on a command line.

    Raises:
        ConfigError: this batch system takes no script.
    """
    if keys.kind not in HEADERS:
        raise ConfigError(
            f"cluster.kind: {keys.kind}: the controller cannot be a job there",
            hint=f"start `esegeta {origin.command}` itself on a machine that may submit jobs; "
            f"`submit` is for {', '.join(HEADERS)}",
        )
    root = origin.root(config)
    folder = SharedFolder(root, origin.command)
    again, never = REQUEUED[keys.kind]
    values = {
        "name": f"esegeta-{config.keys.name}-controller",
        "log": str(log_of(folder)),
        "walltime": walltime_of(keys),
        "queue": keys.queue,
        "account": keys.account,
        # Started again, it would do again what it has done.
        "requeue": never if "--overwrite" in options else again,
    }
    given = {key: value for key, value in values.items() if value}
    lines = ["#!/bin/bash"]
    for line in HEADERS[keys.kind]:
        key = line[line.index("{") + 1 : line.index("}")] if "{" in line else None
        if key is None or key in given:
            lines.append(line.format(**given))
    words = [sys.executable, "-c", "from esegeta.cli import main; main()", origin.command]
    words += [*origin.subject, "-o", str(root.parent)]
    for override in origin.overrides:
        words += ["--set", override]
    if origin.device is not None:
        words += ["--device", origin.device]
    words += options
    if cluster_file is not None:
        words += ["--cluster", str(cluster_file.absolute())]
    lines += [f"cd {shlex.quote(str(Path.cwd()))}", *keys.prologue]
    lines.append(f"exec {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def submit(
    origin: Origin,
    config: RunConfig,
    keys: ClusterKeys,
    cluster_file: Path | None,
    options: Sequence[str] = (),
) -> str:
    """Submit a controller; return what the batch system says.

    Raises:
        ConfigError: the batch system is not there, or refuses it or its workers; in its own words.
    """
    script = controller_script(origin, config, keys, cluster_file, options)
    folder = SharedFolder(origin.root(config), origin.command)
    require_cluster(keys, config.keys.name, folder.logs)
    require_accepted(keys.kind, script)
    program = SUBMITTERS[keys.kind][1]
    folder.logs.mkdir(parents=True, exist_ok=True)
    path = folder.path / "controller.sh"
    write_text(path, script)
    # LSF reads scripts from its input.
    command = [program] if keys.kind == "lsf" else [program, str(path)]
    found = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if found.returncode:
        raise ConfigError(
            f"cluster: `{program}` refuses the controller's job: {words_of(found)}",
            hint="change queue, account or walltime",
        )
    said = found.stdout.strip()
    write_json(folder.submission, {"job": job_in(said), "log": str(log_of(folder))})
    return said


def log_of(folder: SharedFolder) -> Path:
    """Return the file that a submitted controller prints to."""
    return folder.logs / "controller.log"


def job_in(said: str) -> str:
    """Return the number of a job from what a batch system says to its submission; "" for none."""
    found = re.search(r"(?:^|\bjob <?)(\d+)", said, re.IGNORECASE | re.MULTILINE)
    return found[1] if found else ""
