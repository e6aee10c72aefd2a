"""`python -m benchmarks.many_tasks`: what status, gathering and resuming take, by finished tasks.

Tasks are those of a study of cases x 15 maps, finished and on disk; nothing is computed. Each
figure should grow with the number of tasks, and the memory that comes with a task stay small.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from esegeta.workflow.cache import keep_json
from esegeta.workflow.command import Command
from esegeta.workflow.engine import run_command
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import gather
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.spread.status import keep_expected, standings_of
from esegeta.workflow.task import Content, Desk, Ended, Kind, Task

MAPS_A_CASE = 15
NUM_WORKERS = 64
SIZES = (15_000, 60_000, 150_000)


def _never(task: Task, desk: Desk) -> Content:
    raise AssertionError("a finished task is done again")


FINISHED = Kind(_never)


def tasks_of(root: Path, count: int) -> Iterator[Task]:
    """Yield tasks of a study, each with its record."""
    for number in range(count):
        case = f"case{number // MAPS_A_CASE:05d}"
        name = f"{case}/{number % MAPS_A_CASE:02d}"
        record = root / f"{name}.json"
        yield Task(name=name, kind=FINISHED, key=name, record=record, place=case, order=(number,))


def study(root: Path, count: int) -> Command:
    """Write all records and journals of a finished study, and return it."""
    folder = SharedFolder(root, "run")
    content = {"scores": [{"score": f"s{k}", "value": k / 7, "better": "higher"} for k in range(4)]}
    journals = [OwnJournal(folder.journal(f"worker-{k}"), name=str(k)) for k in range(NUM_WORKERS)]
    for journal in journals:
        journal.__enter__()
    for place, task in enumerate(tasks_of(root, count)):
        assert task.record is not None
        task.record.parent.mkdir(exist_ok=True)
        keep_json(task.record, task.name, content)
        journal = journals[place // MAPS_A_CASE % NUM_WORKERS]
        journal.append(Ended(task, "done", seconds=20.0, content=content))
        journal.entries.clear()
    for journal in journals:
        journal.__exit__(None, None, None)
    folder.origin.write_text("{}")
    command = Command(
        root=root,
        folder=root,
        job=None,
        tasks=lambda desk: tasks_of(root, count),
        num_tasks=count,
        write=_write_table,
    )
    keep_expected(folder, command)
    return command


def _write_table(results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
    """Make a line of each result, as tables do."""
    json.dumps([[ended.name, ended.content.get("scores")] for ended in results])


@dataclass(frozen=True)
class Took:
    """What the three take for some number of tasks, in seconds, and the memory after them."""

    count: int
    status_s: float
    gather_s: float
    resume_s: float
    peak_mb: float

    def line(self) -> str:
        """Return it as it is printed."""
        a_task = " ".join(
            f"{1e6 * seconds / self.count:7.0f}"
            for seconds in (self.status_s, self.gather_s, self.resume_s)
        )
        whole = f"{self.status_s:8.1f} {self.gather_s:8.1f} {self.resume_s:8.1f}"
        return f"{self.count:8d} {whole}   {a_task}   {self.peak_mb:8.0f}"


def measure(count: int) -> Took:
    """Measure a study of so many finished tasks in a folder of its own."""
    root = Path(tempfile.mkdtemp(prefix="esegeta-many-"))
    try:
        whole = study(root, count)
        folder = SharedFolder(root, "run")
        status_s = _seconds(lambda: standings_of(root))
        gather_s = _seconds(lambda: gather(whole, folder))
        for path in folder.journals:
            path.unlink()
        resume_s = _seconds(lambda: _resume(whole))
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Took(count, status_s, gather_s, resume_s, peak_mb)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _resume(whole: Command) -> None:
    outcome = run_command(whole)
    assert all(ended.status == "skipped" for ended in outcome.results), outcome.results[0].message


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print a line for each number of tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES))
    print("   tasks   status   gather   resume s   us a task: the same three       peak MB")
    for count in parser.parse_args().sizes:
        print(measure(count).line(), flush=True)


if __name__ == "__main__":
    main()
