"""The rows about programs: how soon help answers, what resuming and the demo take."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.run import ROOT, BenchmarkRun
from benchmarks.table import Line
from esegeta.volume import write_json
from esegeta.workflow.cache import finished, keep_json
from esegeta.workflow.command import Command
from esegeta.workflow.engine import run_command
from esegeta.workflow.task import Content, Desk, Ended, Kind, Task

HELP_RUNS = 5
DEMO_LIMIT_S = 240
RESUMED = (2_500, 10_000)
SIDECAR = {"scores": [{"score": "infidelity", "value": 0.25, "better": "lower"}] * 40}
"""About 3 KB, as a map's sidecar with a score or two."""


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


def resume(bench: BenchmarkRun) -> Iterator[Line]:
    row, each_ms = "resuming finished tasks", {}
    for count in RESUMED:
        root = bench.folder / f"resume-{count}"
        tasks = [
            Task(name=str(n), kind=NOTHING, key="key", record=root / f"{n}.json", order=(n,))
            for n in range(count)
        ]
        for task in tasks:
            keep_json(root / f"{task.name}.json", "key", SIDECAR)
        start = time.perf_counter()
        for task in tasks:
            finished(task)
        read = time.perf_counter() - start
        command = Command(
            root=root,
            folder=root,
            job=None,
            tasks=partial(_listed, tasks),
            num_tasks=count,
            write=partial(_write_names, root),
        )
        start = time.perf_counter()
        run_command(command)
        seconds = time.perf_counter() - start
        each_ms[count] = 1e3 * (seconds - read) / count
        yield Line(row, f"{count:,} tasks", f"{seconds:.2f} s", f"reading alone {read:.2f} s")
    few, many = RESUMED
    yield Line(row, "ms a task beyond reading", f"{each_ms[many]:.2f}", "", each_ms[many], 1.0)
    ratio = each_ms[many] / each_ms[few]
    yield Line(row, f"of one task: {many:,} against {few:,}", f"{ratio:.2f}x", "", ratio, 1.25)


def _listed(tasks: Sequence[Task], desk: Desk) -> Sequence[Task]:
    return tasks


def _write_names(root: Path, ended: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
    write_json(root / "record.json", {"tasks": [one.name for one in ended]})


def do_nothing(task: Task, desk: Desk) -> Content:
    return {}


NOTHING = Kind(do_nothing)


def demo(bench: BenchmarkRun) -> Iterator[Line]:
    row, script = "scripts/demo", ROOT / "scripts" / "demo"
    start = time.perf_counter()
    if not script.exists() or subprocess.run(["bash", script], cwd=ROOT, check=False).returncode:
        yield Line(row, "seconds", "missing or failed", must=DEMO_LIMIT_S)
        return
    seconds = time.perf_counter() - start
    yield Line(row, "seconds", f"{seconds:.0f} s", "", seconds, DEMO_LIMIT_S)
