"""Temporary files of processes that are dead."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path


def dead_temporary(folder: Path) -> Path:
    """Leave a temporary file of a process that has ended, as one that was killed does."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".tmp-{platform.node()}-{process.pid}-abc.csv"
    path.write_text("half")
    return path
