"""The journal of one of several processes: also what it has begun, should it die of that."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from esegeta.plain_json import parse_json
from esegeta.report.shapes import (
    BegunTold,
    EndedTold,
    NoteTold,
    ProcessTold,
    StateTold,
    Told,
    misfit,
)
from esegeta.workflow.journal import Journal
from esegeta.workflow.task import Ended, Fault, Status, Task

LINES: Mapping[str, type[Told]] = {
    "task": EndedTold,
    "begin": BegunTold,
    "dropped": Told,
    "note": NoteTold,
    "state": StateTold,
    "process": ProcessTold,
}
"""The lines of a journal, by a key that tells them apart."""
JournalLine = dict[str, Any]
"""A line as plain values."""
MOST_DEATHS = 3
"""A task that has killed so many processes is not tried again."""


@dataclass(eq=False)
class OwnJournal(Journal):
    """A journal that says who writes it, what was begun, and what was let go without harm.

    Args:
        name: of the process, such as part 3/16.
        address: where a scheduler reaches it.
        num_tasks: how many there are for it, as far as is known.
        deaths: how many processes each task has killed before.
        done: tasks that others have done in this run: they are not done again, whatever the policy.
        origin: SHA-256 of what the command was started from.
    """

    name: str = ""
    address: str = ""
    num_tasks: int = 0
    deaths: Mapping[str, int] = field(default_factory=dict)
    done: Collection[str] = ()
    origin: str = ""

    def __enter__(self) -> OwnJournal:
        super().__enter__()
        self._write(
            {
                "process": self.name,
                "address": self.address,
                "host": platform.node(),
                "pid": os.getpid(),
                "job": os.environ.get("SLURM_JOB_ID", ""),
                "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
                "device": own_device(),
                "log": own_log(),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "num_tasks": self.num_tasks,
                "deaths": dict(self.deaths),
                "origin": self.origin,
            }
        )
        return self

    def _set_aside(self) -> None:
        """Set nothing aside: the record is for whoever gathers."""

    def begin(self, tasks: Sequence[Task]) -> None:
        """Note what is about to be done: should it kill this process, the next one knows."""
        self._write({"begin": [task.name for task in tasks], "at": round(time.time(), 3)})

    def drop(self) -> None:
        """Note that what was begun is let go, and that it is not to blame."""
        if self._file is not None and not self._file.closed:
            self._write({"dropped": True})

    def say(self, text: str) -> None:
        """Say something for the record of the whole command."""
        self._write({"note": text})

    def finish(self, state: str) -> None:
        """Note that the process has come to its end."""
        self._write({"state": state, "at": round(time.time(), 3)})


def own_device() -> str:
    """Return what this process computes on: its GPU by name, or its processor."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return platform.processor() or platform.machine()


def own_log() -> str:
    """Return the file that this process prints to, where that is one."""
    try:
        target = Path(f"/proc/{os.getpid()}/fd/1").readlink()
    except OSError:
        return ""
    return str(target) if target.is_file() else ""


@dataclass(eq=False)
class JournalRead:
    """What a journal says.

    Args:
        path: of the file.
        head: who writes it.
        num_done: tasks that it did and did not skip, steps left out.
        begun: tasks that were begun and have neither ended nor been let go.
        since: when these were begun, in seconds since 1970.
        state: how the process ended; empty while it runs, and where it was killed.
    """

    path: Path
    head: dict[str, Any] = field(default_factory=dict)
    num_done: int = 0
    begun: tuple[str, ...] = ()
    since: float = 0.0
    state: str = ""

    @property
    def deaths(self) -> Counter[str]:
        """How many processes each task has killed, this one among them; it is dead.

        Tasks that are prepared together are all suspects; the next process takes them one by one.
        """
        return Counter(self.head.get("deaths", {})) + Counter(self.begun)


def read_journal(
    path: Path, take: Callable[[JournalLine, JournalLine], None] | None = None
) -> JournalRead:
    """Read a journal line by line; a line without its end is what a killed process leaves.

    Args:
        path: of the file.
        take: is given each line that says how a task ended, and the one that says who writes.
    """
    found = JournalRead(path)
    for line in lines_of(path):
        if "task" in line:
            if take is not None:
                take(line, found.head)
            found.num_done += line["status"] == "done" and not line.get("step")
            found.begun = tuple(name for name in found.begun if name != line["task"])
        elif "begin" in line:
            found.begun, found.since, found.state = tuple(line["begin"]), line["at"], ""
        elif "dropped" in line:
            found.begun = ()
        elif "state" in line:
            found.begun, found.state = (), line["state"]
        elif "process" in line:
            found.head = line
    return found


def done_in(path: Path) -> set[str]:
    """Return the tasks that a process did, by its journal."""
    return {line["task"] for line in lines_of(path) if line.get("status") == "done"}


def head_of(path: Path) -> JournalLine | None:
    """Return the line of a journal that says who writes it; None where there is none yet."""
    return next((line for line in lines_of(path) if "process" in line), None)


def lines_of(path: Path, shapes: Mapping[str, type[Told]] = LINES) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal as plain values, without those that no process has written.

    The last line of one that was killed may have no end.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            for text in stream:
                line = line_in(text, shapes)
                if line is not None:
                    yield line
    except FileNotFoundError:
        return


def line_in(text: str | bytes, shapes: Mapping[str, type[Told]] = LINES) -> dict[str, Any] | None:
    """Return a line of a journal; None where it is not what a process writes there."""
    try:
        line = parse_json(text)
    except ValueError:
        return None
    named = line if isinstance(line, dict) else {}
    shape = next((shape for key, shape in shapes.items() if key in named), None)
    return named if shape is not None and misfit(named, shape) is None else None


def ended_from(line: Mapping[str, Any], task: Task) -> Ended:
    """Return how a task ended, as a journal tells it."""
    status: Status = line["status"]
    fault = line.get("fault")
    return Ended(
        task,
        status,
        seconds=line["seconds"],
        warnings=tuple(line["warnings"]),
        verdicts=tuple(line.get("verdicts", ())),
        content=line["content"],
        fault=None if fault is None else Fault(**fault),
    )
