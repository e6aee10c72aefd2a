"""The rows about programs: how soon help answers, and what the demo takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.run import ROOT, BenchmarkRun
from benchmarks.table import Line

HELP_RUNS = 5
DEMO_LIMIT_S = 240


def help_time(bench: BenchmarkRun) -> Iterator[Line]:
    row = "esegeta --help"
    program = Path(sys.executable).parent / "esegeta"
    seconds = []
    for _ in range(HELP_RUNS):
        start = time.perf_counter()
        if (
            not program.exists()
            or subprocess.run([program, "--help"], capture_output=True, check=False).returncode
        ):
            yield Line(row, "seconds", "missing", must=0.5)
            return
        seconds.append(time.perf_counter() - start)
    yield Line(row, f"best of {HELP_RUNS}", f"{min(seconds):.2f} s", "", min(seconds), 0.5)


def demo(bench: BenchmarkRun) -> Iterator[Line]:
    row, script = "scripts/demo", ROOT / "scripts" / "demo"
    start = time.perf_counter()
    if not script.exists() or subprocess.run(["bash", script], cwd=ROOT, check=False).returncode:
        yield Line(row, "seconds", "missing or failed", must=DEMO_LIMIT_S)
        return
    seconds = time.perf_counter() - start
    yield Line(row, "seconds", f"{seconds:.0f} s", "", seconds, DEMO_LIMIT_S)
