"""How a run looks: bars with time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from esegeta.run import Listener, Outcome, Silence, UnitResult

WORDS = {"done": "done", "skipped": "skipped (finished before)", "failed": "FAILED"}


class PlainLines:
    """One line an event, for logs of batch jobs."""

    def __init__(self) -> None:
        self._done, self._total = 0, 0

    def note(self, text: str) -> None:
        """Print a note."""
        print(f"note: {text}", flush=True)

    def expect(self, units: int) -> None:
        """Count on more units."""
        self._total += units

    def begin(self, name: str) -> None:
        """Say what is being worked on."""
        print(f"[{self._done + 1}/{self._total}] {name} ...", flush=True)

    def end(self, result: UnitResult) -> None:
        """Say how a unit ended."""
        self._done += 1
        took = f" in {result.seconds:.1f} s" if result.seconds else ""
        word = WORDS[result.status]
        print(f"[{self._done}/{self._total}] {result.name}: {word}{took}", flush=True)
        for warning in result.warnings:
            print(f"    warning: {warning}", flush=True)
        if result.status == "failed":
            print(f"    {result.message}", flush=True)


class Bars:
    """A progress bar with time left, and a line for each unit above it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=0)
        self._total = 0

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self._progress.console.print(f"[yellow]note:[/] {escape(text)}")

    def expect(self, units: int) -> None:
        """Lengthen the bar."""
        self._total += units
        self._progress.update(self._task, total=self._total)

    def begin(self, name: str) -> None:
        """Show what is being worked on."""
        self._progress.update(self._task, description=escape(name))

    def end(self, result: UnitResult) -> None:
        """Advance the bar and leave a line."""
        self._progress.advance(self._task)
        colour = {"done": "green", "skipped": "dim", "failed": "red"}[result.status]
        took = f" {result.seconds:.1f} s" if result.seconds else ""
        line = f"[{colour}]{WORDS[result.status]}[/] {escape(result.name)}{took}"
        self._progress.console.print(line)
        for warning in result.warnings:
            self._progress.console.print(f"  [yellow]warning:[/] {escape(warning)}")


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
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console()) as progress:
            yield Bars(progress)


def show_outcome(outcome: Outcome, root: Path, *, quiet: bool) -> None:
    """Print the table of failures and where the results lie."""
    failures = outcome.failures
    for failure in failures:
        if failure.is_bug:
            print(failure.traceback, file=sys.stderr)
    if failures and not sys.stderr.isatty():
        print("failures:", file=sys.stderr)
        for failure in failures:
            print(f"  {failure.name}: {failure.message}", file=sys.stderr)
    elif failures:
        table = Table(title="failures", title_justify="left", show_lines=True)
        for column in ("case", "target", "method", "what was wrong"):
            table.add_column(column, overflow="fold")
        for failure in failures:
            names = (failure.case, failure.target, failure.method, failure.message)
            table.add_row(*(escape(text) for text in names))
        Console(stderr=True).print(table)
    if quiet:
        return
    done = sum(result.status == "done" for result in outcome.results)
    skipped = sum(result.status == "skipped" for result in outcome.results)
    counts = f"{done} done, {skipped} skipped, {len(failures)} failed"
    warned = f", {len(outcome.warned)} with warnings" if outcome.warned else ""
    print(f"{counts}{warned} in {outcome.seconds:.1f} s; results in {root}")
