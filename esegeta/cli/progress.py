"""How progress is shown: bars with the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Task as BarTask
from rich.table import Table
from rich.text import Text

from esegeta.results_folder import RUN_RECORD, STALE
from esegeta.workflow import Ended, Listener, Outcome, Silence

MOST_STALE = 10
"""Names of stale files that are printed."""
SECONDS_BETWEEN_LINES = 30
WORDS = {"done": "done", "skipped": "skipped (already finished)", "failed": "FAILED"}


class PlainLines:
    """One line per event, for logs of batch jobs; now and then one for the windows of long work.

    Args:
        clock: returns seconds, counted from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done, self._total = 0, 0
        self._name = ""
        self._windows, self._expected = 0, 0
        self._start = self._last = self._first = self._told = clock()
        self._worked = 0

    def note(self, text: str) -> None:
        """Print a note."""
        print(f"note: {text}", flush=True)

    def expect(self, tasks: int) -> None:
        """Count on more tasks."""
        self._total += tasks

    def begin(self, name: str, tasks: int = 0, windows: int | None = None) -> None:
        """Say what is being worked on."""
        self._name, self._windows, self._expected = name, 0, windows or 0
        self._start = self._last = self._clock()
        self._total = max(self._total, self._done + 1)
        print(f"[{self._done + 1}/{self._total}] {name} ...", flush=True)

    def advance(self, windows: int) -> None:
        """Say how far the work is, unless that was said recently."""
        self._windows += windows
        now = self._clock()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = now
        count = f"{self._windows} windows"
        if self._windows <= self._expected:
            seconds = (now - self._start) * (self._expected / self._windows - 1)
            count = f"{self._windows} of {self._expected} windows, about {seconds:.0f} s left"
        print(f"[{self._done + 1}/{self._total}] {self._name}: {count}", flush=True)

    def end(self, result: Ended) -> None:
        """Say how a task ended."""
        self._done += 1
        took = f" in {result.seconds:.1f} s" if result.seconds else ""
        word = WORDS[result.status]
        self._total = max(self._total, self._done)  # of steps it is not known beforehand
        print(f"[{self._done}/{self._total}] {result.name}: {word}{took}", flush=True)
        for warning in result.warnings:
            print(f"    warning: {warning}", flush=True)
        if result.status == "failed":
            print(f"    {result.message}", flush=True)
        self._worked += result.status != "skipped"
        self._tell_rate()

    def _tell_rate(self) -> None:
        """Say how fast tasks end, whoever does them, and how long the others take, now and then."""
        now = self._clock()
        if now - self._told < SECONDS_BETWEEN_LINES or not self._worked:
            return
        self._told = now
        a_minute = 60 * self._worked / (now - self._first)
        left = max(self._total - self._done, 0) / a_minute
        print(f"    {a_minute:.3g} tasks per minute, about {left:.3g} min left", flush=True)


class Rate(ProgressColumn):
    """How many a minute."""

    def render(self, task: BarTask) -> Text:
        """Return it as it is shown."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{60 * speed:.3g}/min", style="progress.data.speed")


class Bars:
    """A bar of tasks with the time left, one of the running windows, and a line above for each end.

    The bar of tasks moves with the windows: a task that is half done is half a task.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=0)
        self._part = self._new_part(None)
        self._done, self._total = 0, 0
        self._running = 0
        self._windows, self._expected = 0, 0

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._progress.console.print(f"[yellow]note:[/] {escape(text)}")

    def expect(self, tasks: int) -> None:
        """Lengthen the bar."""
        self._total += tasks
        self._progress.update(self._task, total=self._total)

    def begin(self, name: str, tasks: int = 0, windows: int | None = None) -> None:
        """Show what is being worked on, and a bar for its windows."""
        self._running, self._windows, self._expected = tasks, 0, windows or 0
        self._progress.update(self._task, description=escape(name))
        self._progress.remove_task(self._part)
        self._part = self._new_part(windows)

    def advance(self, windows: int) -> None:
        """Move both bars."""
        self._windows += windows
        # More windows than were foreseen are those of scores, say: nobody knows how many.
        total = max(self._windows, self._expected) if self._expected else None
        self._progress.update(self._part, completed=self._windows, total=total, visible=True)
        self._move()

    def end(self, result: Ended) -> None:
        """Advance the bar and leave a line."""
        self._done += 1
        self._running = max(self._running - 1, 0)
        if not self._running:
            self._progress.update(self._part, visible=False)
        self._move()
        colour = {"done": "green", "skipped": "dim", "failed": "red"}[result.status]
        took = f" {result.seconds:.1f} s" if result.seconds else ""
        line = f"[{colour}]{WORDS[result.status]}[/] {escape(result.name)}{took}"
        self._progress.console.print(line)
        for warning in result.warnings:
            self._progress.console.print(f"  [yellow]warning:[/] {escape(warning)}")

    def _new_part(self, windows: int | None) -> TaskID:
        # A new one each time: a bar that has had a total cannot go back to having none.
        return self._progress.add_task("  windows", total=windows, visible=False)

    def _move(self) -> None:
        part = min(self._windows / self._expected, 1.0) if self._expected else 0.0
        self._total = max(self._total, self._done)
        completed = self._done + part * self._running
        self._progress.update(self._task, completed=completed, total=self._total)


@contextmanager
def listen(*, quiet: bool) -> Iterator[Listener]:
    """Yield the listener that fits where the output goes."""
    if quiet:
        yield Silence()
    elif not sys.stdout.isatty():
        yield PlainLines()
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console()) as progress:
            yield Bars(progress)


def show_outcome(outcome: Outcome, root: Path, *, quiet: bool) -> None:
    """Print the table of failures and where the results lie."""
    failures = outcome.failures
    # Many tasks may have failed from one bug.
    for text in dict.fromkeys(failure.traceback for failure in failures if failure.is_bug):
        print(text, file=sys.stderr)
    if failures and not sys.stderr.isatty():
        print("failures:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.name}: {failure.message}", file=sys.stderr)
    elif failures:
        table = Table(title="failures", title_justify="left", show_lines=True)
        for column in ("task", "what was wrong"):
            table.add_column(column, overflow="fold")
        for failure in failures:
            table.add_row(escape(failure.name), escape(failure.message))
        Console(stderr=True).print(table)
    if quiet:
        for result in outcome.warned:
            for text in result.warnings:
                print(f"warning: {result.name}: {text}", file=sys.stderr)
        return
    done, skipped = outcome.num_of("done"), outcome.num_of("skipped")
    counts = f"{done} done, {skipped} skipped, {len(failures)} failed"
    warned = f", {outcome.num_warned} with warnings" if outcome.num_warned else ""
    print(f"{counts}{warned} in {outcome.seconds:.1f} s; results in {root}")


def show_stale(root: Path, *, prune: bool, quiet: bool) -> None:
    """Print what earlier configs left in a run's folder, or move it aside."""
    from esegeta.workflow import stale

    if prune:
        moved = stale.prune(root)
        if moved and not quiet:
            print(f"{_files(moved)} of earlier configs moved to {root / STALE}")
        return
    left = stale.stale_in(root)
    if left and not quiet:
        print(f"{_files(left)} of earlier configs next to the results; `run --prune` moves them:")
        for name in left[:MOST_STALE]:
            print(f"  {name}")
        if len(left) > MOST_STALE:
            print(f"  and {len(left) - MOST_STALE} more, listed in {root / RUN_RECORD}")


def _files(names: Sequence[str]) -> str:
    return "1 file" if len(names) == 1 else f"{len(names)} files"
