"""The command line in processes of its own, which are stopped while they work."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 240


@contextmanager
def started(command: str, config: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process of its own, which does not outlive the block."""
    call = [sys.executable, "-c", "from esegeta.cli import main; main()", command, str(config)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(call, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def stop_once(there: Callable[[], bool], process: subprocess.Popen[str], number: int) -> str:
    """Send a signal once something is there; return what the process says before it ends.

    What is looked for is written meanwhile: look with `tests.experiments.written`, which takes no
    temporary file for a result.
    """
    end = time.monotonic() + PATIENCE_S
    while not there():
        assert process.poll() is None, f"it ended too early: {process.communicate()[1]}"
        assert time.monotonic() < end
        time.sleep(0.005)
    process.send_signal(number)
    return process.communicate(timeout=PATIENCE_S)[1]
