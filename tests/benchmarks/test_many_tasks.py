"""The study of finished tasks is one that resuming skips whole, in memory that does not grow."""

import gc
import shutil
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.many_tasks import measure, study
from esegeta.workflow.command import Command
from esegeta.workflow.engine import run_command
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import gather
from esegeta.workflow.spread.status import standings_of


def test_finished_tasks_are_counted_gathered_and_skipped() -> None:
    took = measure(60)
    assert took.count == 60
    assert min(took.status_s, took.gather_s, took.resume_s) > 0


def look(whole: Command) -> None:
    (standing,) = standings_of(whole.root)
    assert standing.done == whole.num_tasks


def bring_together(whole: Command) -> None:
    gathered = gather(whole, SharedFolder(whole.root, "run"))
    assert gathered.outcome.num_of("done") == whole.num_tasks


def resume(whole: Command) -> None:
    for path in SharedFolder(whole.root, "run").journals:
        path.unlink()
    assert run_command(whole).num_of("skipped") == whole.num_tasks


WORKS = (look, bring_together, resume)


def peaks_of(root: Path, count: int) -> list[int]:
    """Return the most memory that each of the works takes over so many tasks, in bytes."""
    whole, peaks = study(root, count), []
    for work in WORKS:
        gc.collect()
        tracemalloc.start()
        work(whole)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    shutil.rmtree(root)
    return peaks


@pytest.mark.slow
def test_memory_does_not_grow_with_finished_tasks(tmp_path: Path) -> None:
    """What tables hold of a task takes 4 KB; what is in use at any moment varies by some 400 KB."""
    few, many = 100, 700
    peaks_of(tmp_path / "first", many)  # Python's table of interned names grows once, for all
    bases, peaks = peaks_of(tmp_path / "few", few), peaks_of(tmp_path / "many", many)
    growth = [(peak - base) / (many - few) for base, peak in zip(bases, peaks, strict=True)]
    assert max(growth) < 1000, growth
