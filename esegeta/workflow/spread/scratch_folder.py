"""The folder for Dask's own files, `scratch`: its variables are those of the worker's machine."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import ConfigError

VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
NAME = "ESEGETA_SCRATCH"
"""What a job's script calls the folder."""


def local_scratch(keys: ClusterKeys) -> str:
    """Return the folder of workers of this machine; $TMPDIR is there even where it is not set.

    Raises:
        ConfigError: another variable is not set, or it is the home of nobody.
    """
    if keys.scratch is None:
        return tempfile.gettempdir()

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        told = os.environ.get(name) or (tempfile.gettempdir() if name == "TMPDIR" else "")
        if not told:
            raise ConfigError(
                f"cluster.scratch: {keys.scratch}: ${name} is not set on this machine",
                hint="set it, give another folder, or leave `scratch` out",
            )
        return told

    try:
        path = str(Path(keys.scratch).expanduser())
    except RuntimeError as error:
        raise ConfigError(
            f"cluster.scratch: {keys.scratch}: there is no such user on this machine",
            hint="give another folder, or leave `scratch` out",
        ) from error
    return VARIABLE.sub(value, path)


def job_scratch(keys: ClusterKeys) -> tuple[list[str], str]:
    """Return shell lines of a job that make the folder, and the word that stands for it then.

    Where a variable is not set on a node, the folder is that of its temporary files.
    """
    if keys.scratch is None:
        return [], "/tmp"
    path = keys.scratch
    for name in dict.fromkeys(one or other for one, other in VARIABLE.findall(keys.scratch)):
        path = f"${{{name}:+{path}}}"
    lines = [
        f"{NAME}={path}",
        f"{NAME}=${{{NAME}:-${{TMPDIR:-/tmp}}}}",
        f'mkdir -p "${NAME}"',
    ]
    return lines, f'"${NAME}"'
