"""`python -m benchmarks.many_tasks`: what status, gathering and resuming take, by finished tasks.

Tasks are those of a study of cases x 15 maps, finished and on disk; nothing is computed, and tables
and record are those of a run. Time should grow with the number of tasks, and memory hardly.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from esegeta.config import load_config
from esegeta.report.contents import CONTENTS, sealed
from esegeta.workflow.attribute import experiment_command
from esegeta.workflow.build import build_experiment
from esegeta.workflow.cache import MARK
from esegeta.workflow.command import Command
from esegeta.workflow.engine import run_command
from esegeta.workflow.maps import recall_map
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import gather
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.spread.status import keep_expected, standings_of
from esegeta.workflow.task import Content, Desk, Ended, Kind, Silence, Task

CONFIG = Path(__file__).parents[1] / "configs/brain_2d.yaml"
"""Any run will do: only how it writes its tables is taken from it."""
MAPS_A_CASE = 15
SCORES = ("deletion", "insertion", "sensitivity_max", "infidelity")
NUM_WORKERS = 64
SIZES = (15_000, 60_000, 150_000)


def _never(task: Task, desk: Desk) -> Content:
    raise AssertionError("a finished task is done again")


FINISHED = Kind(_never, recall=recall_map)


def tasks_of(root: Path, count: int) -> Iterator[Task]:
    """Yield tasks of a study, each with its record."""
    for number in range(count):
        case, place = f"case{number // MAPS_A_CASE:05d}", number % MAPS_A_CASE
        target, method = f"target{place // 5}", f"method{place % 5}"
        name = f"{case} / {target} / {method}"
        yield Task(
            name=name,
            kind=FINISHED,
            key=name,
            record=root / case / f"{target}_{method}.json",
            data={
                "names": {"case": case, "target": target, "method": method},
                "inputs": {f"/data/images/{case}.nii.gz": f"{number // MAPS_A_CASE:064x}"},
            },
            place=case,
            order=(number // MAPS_A_CASE, place // 5, 0, place % 5),
        )


def content_of(task: Task) -> Content:
    """Return what the record of a task holds: some scores and a curve."""
    names = task.data["names"]
    scores = [
        {**names, "score": score, "value": len(score) / 7, "better": "higher"} for score in SCORES
    ]
    steps = [step / 20 for step in range(21)]
    curve = {"score": SCORES[0], "curve": "value", "x_label": "part", "y_label": "value"}
    curves = [{**names, **curve, "x": steps, "y": steps, "ticks": []}]
    return {"scores": scores, "curves": curves, "regions": []}


def study(root: Path, count: int) -> Command:
    """Write all records and journals of a finished study, and return it."""
    experiment = build_experiment(load_config(CONFIG), output=root.parent)
    experiment = replace(experiment, root=root)
    command = replace(
        experiment_command(experiment, Silence()),
        tasks=lambda desk: tasks_of(root, count),
        num_tasks=count,
        close=lambda results, desk: None,  # figures are drawn once
        config=None,
    )
    folder = SharedFolder(root, "run")
    journals = [OwnJournal(folder.journal(f"worker-{k}"), name=str(k)) for k in range(NUM_WORKERS)]
    for journal in journals:
        journal.__enter__()
    for place, task in enumerate(tasks_of(root, count)):
        assert task.record is not None
        task.record.parent.mkdir(parents=True, exist_ok=True)
        content = content_of(task)
        task.record.write_text(json.dumps(sealed({MARK: task.name, **content, CONTENTS: {}})))
        journal = journals[place // MAPS_A_CASE % NUM_WORKERS]
        journal.append(Ended(task, "done", seconds=20.0, content=content))
        journal.entries.clear()
    for journal in journals:
        journal.__exit__(None, None, None)
    folder.origin.write_text("{}")
    keep_expected(folder, command)
    return command


@dataclass(frozen=True)
class Took:
    """What the three take for some number of tasks, in seconds, and the most memory since."""

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
        # A process each: the most memory of one is not that of an earlier one.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            print(alone.submit(measure, count).result().line(), flush=True)


if __name__ == "__main__":
    main()
