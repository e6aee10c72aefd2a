"""Which workers a command line and a config ask for."""

from __future__ import annotations

import importlib
import signal
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from esegeta.config import RunConfig
from esegeta.config.cluster import ClusterKeys
from esegeta.config.config_errors import config_error
from esegeta.config.lines import read_yaml
from esegeta.config.values import refuse_unfit_values
from esegeta.errors import ConfigError

NEEDED = ("distributed", "dask_jobqueue", "cryptography")
BLOCK = "cluster"
ALLOCATION: Literal["allocation"] = "allocation"
"""Of `--cluster`: the nodes of the allocation that this process runs in are the workers."""


def asked_cluster(
    config: RunConfig, workers: str | None, cluster: str | None
) -> ClusterKeys | None:
    """Return the workers that are asked for: by `--workers`, `--cluster` or the config, in order.

    Raises:
        ConfigError: no such number or file, or its keys are not those of `cluster`.
    """
    if workers is not None and cluster is not None:
        raise ConfigError(
            "--workers and --cluster: give one of them",
            hint="for a cluster, `workers` in its file is the number of workers",
        )
    if workers is not None:
        return ClusterKeys(kind="local", workers=_number(workers), cpus_per_worker=1)
    if cluster is None:
        return config.keys.cluster
    if cluster == ALLOCATION:
        return ClusterKeys(kind=ALLOCATION)
    if not Path(cluster).is_file():
        raise ConfigError(
            f'--cluster: there is no file "{cluster}"',
            hint="give a YAML file with the keys of `cluster`, such as kind: slurm and workers: 8, "
            f"or the word {ALLOCATION}",
        )
    return cluster_in(Path(cluster))


def cluster_in(path: Path) -> ClusterKeys:
    """Read a file with the keys of `cluster`, below that key or alone.

    Raises:
        ConfigError: with file and line.
    """
    document = read_yaml(path)
    refuse_unfit_values(document)
    content = document.content
    prefix: tuple[str, ...] = ()
    if set(content) == {BLOCK}:
        content, prefix = content[BLOCK], (BLOCK,)
    if not content:
        raise ConfigError(
            f"{document.place(prefix)}: there are no keys of `cluster`",
            hint="give at least kind, and workers for a batch system",
        )
    try:
        return ClusterKeys.model_validate(content)
    except ValidationError as error:
        raise ConfigError(config_error(error, document, ClusterKeys, prefix)) from error


def _number(text: str) -> int | Literal["auto"]:
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise ConfigError(f'--workers: "{text}" is not valid', hint="must be at least 1, or auto")
    return int(text)


def require_dask() -> None:
    """Refuse workers where the packages that they need are not installed.

    Raises:
        ConfigError: with the line that installs them.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"workers need {' and '.join(missing)}, which is not installed",
            hint="pip install 'esegeta[cluster]'; or do it in parts, with --part, which needs "
            "nothing more",
        )
    if threading.current_thread() is threading.main_thread():
        # As it is imported, dask-jobqueue lets Ctrl-C end the process with exit code 0.
        handler = signal.getsignal(signal.SIGINT)
        importlib.import_module("dask_jobqueue")
        signal.signal(signal.SIGINT, handler)
