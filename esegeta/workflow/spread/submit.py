"""The controller itself as a job: a small one without a GPU, which submits the workers'."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from esegeta.config import RunConfig
from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError
from esegeta.volume import write_text
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.origin import Origin
from esegeta.workflow.spread.submitters import SUBMITTERS, require_program

HEADERS: Mapping[str, tuple[str, ...]] = {
    "slurm": (
        "#SBATCH --job-name={name}",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=1",
        "#SBATCH --mem=4G",
        "#SBATCH --output={log}",
        "#SBATCH --open-mode=append",
        "#SBATCH --requeue",
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
        "#PBS -r y",
        "#PBS -l walltime={walltime}",
        "#PBS -q {queue}",
        "#PBS -A {account}",
    ),
    "sge": (
        "#$ -N {name}",
        "#$ -j y",
        "#$ -o {log}",
        "#$ -r y",
        "#$ -l h_rt={walltime}",
        "#$ -q {queue}",
        "#$ -P {account}",
    ),
    "lsf": (
        "#BSUB -J {name}",
        "#BSUB -n 1",
        "#BSUB -o {log}",
        "#BSUB -r",
        "#BSUB -W {walltime}",
        "#BSUB -q {queue}",
        "#BSUB -P {account}",
    ),
}
"""Lines of a job script by batch system; those of what is not given are left out."""


def controller_script(
    origin: Origin, config: RunConfig, keys: ClusterKeys, cluster_file: Path | None
) -> str:
    """Return the job script of a controller.

    Args:
        origin: what it does.
        config: its config.
        keys: the cluster that it asks for workers.
        cluster_file: the file with these keys; None where the config has them.

    Raises:
        ConfigError: this batch system takes no script.
    """
    if keys.kind not in HEADERS:
        raise ConfigError(
            f"cluster.kind: {keys.kind}: no job of its own for the controller",
            hint=f"start `esegeta {origin.command}` itself on a machine that may submit jobs; "
            f"`submit` is for {', '.join(HEADERS)}",
        )
    root = origin.root(config)
    folder = SharedFolder(root, origin.command)
    walltime = keys.walltime if keys.kind != "lsf" else keys.walltime.rpartition(":")[0]
    values = {
        "name": f"esegeta-{config.keys.name}-controller",
        "log": str(folder.logs / "controller.log"),
        "walltime": walltime,
        "queue": keys.queue,
        "account": keys.account,
    }
    given = {key: value for key, value in values.items() if value}
    lines = ["#!/bin/bash"]
    for line in HEADERS[keys.kind]:
        key = line[line.index("{") + 1 : line.index("}")] if "{" in line else None
        if key is None or key in given:
            lines.append(line.format(**given))
    words = [sys.executable, "-c", "from esegeta.cli import main; main()", origin.command]
    words += [origin.config, "-o", str(root.parent)]
    for override in origin.overrides:
        words += ["--set", override]
    if origin.device is not None:
        words += ["--device", origin.device]
    if cluster_file is not None:
        words += ["--cluster", str(cluster_file.absolute())]
    lines += ["set -u", f"cd {shlex.quote(str(Path.cwd()))}", *keys.prologue]
    lines.append(f"exec {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def submit(origin: Origin, config: RunConfig, keys: ClusterKeys, cluster_file: Path | None) -> str:
    """Submit a controller; return what the batch system says.

    Raises:
        ConfigError: the batch system is not there, or refuses it; in its own words.
    """
    script = controller_script(origin, config, keys, cluster_file)
    program = SUBMITTERS[keys.kind][1]
    require_program(keys.kind, program)
    folder = SharedFolder(origin.root(config), origin.command)
    folder.logs.mkdir(parents=True, exist_ok=True)
    path = folder.path / "controller.sh"
    write_text(path, script)
    # LSF reads scripts from its input.
    command = [program] if keys.kind == "lsf" else [program, str(path)]
    found = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if found.returncode:
        words = found.stderr.strip() or found.stdout.strip()
        raise ConfigError(
            f"cluster: `{program}` refuses the controller's job: {words}",
            hint="change queue, account or walltime",
        )
    return found.stdout.strip()
