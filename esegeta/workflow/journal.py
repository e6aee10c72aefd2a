"""The journal: a line for each task that has ended, and when tables are to be written from it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from esegeta.volume import plain_values, refusal_to_write
from esegeta.workflow.ended_tasks import EndedTasks
from esegeta.workflow.reserve import Reserve
from esegeta.workflow.task import Ended, Task

NAME = ".journal.jsonl"
INTERVAL_S = 1.0
"""Tables are written at most this often while tasks end."""
SHARE = 0.05
"""The part of the time that writing tables may take while tasks end."""


@dataclass(eq=False)
class Journal:
    """The tasks that have ended in this run: a line each on disk, and all that tables need.

    Recording one more task costs the same however many there were. A process that is killed
    leaves at worst a last line without its end.

    Args:
        path: path of the file, which is started afresh.
    """

    path: Path
    entries: EndedTasks = field(default_factory=EndedTasks)
    _file: IO[bytes] | None = None
    _reserve: Reserve = field(init=False)

    def __post_init__(self) -> None:
        self._reserve = Reserve(self.path.parent)

    def __enter__(self) -> Journal:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Without a buffer: what a full disk refuses is not tried again as the file is closed.
            self._file = self.path.open("wb", buffering=0)
            self._set_aside()
        except OSError as error:
            if self._file is not None:
                self._file.close()
            raise refusal_to_write(self.path, error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reserve.release()
        if self._file is not None:
            self._file.close()

    def _set_aside(self) -> None:
        self._reserve.fill()

    def begin(self, tasks: Sequence[Task]) -> None:
        """Take which tasks are about to be done; nobody asks, where there is one process."""

    def append(self, ended: Ended) -> None:
        """Record how a task ended."""
        self.entries.append(ended)
        self._write(line_of(ended))

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        try:
            self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        except OSError as error:
            raise refusal_to_write(self.path, error) from error

    def release_reserve(self) -> None:
        """Give back the space that was set aside, so that a full disk takes the last record."""
        self._reserve.release()

    def results(self) -> Sequence[Ended]:
        """Return how tasks ended, steps left out, in the order of tables."""
        return self.entries.results

    def steps(self) -> Sequence[Ended]:
        """Return how steps ended, in the order in which they did."""
        return self.entries.steps


def line_of(ended: Ended) -> dict[str, Any]:
    """Return an entry as plain values."""
    content: dict[str, Any] = plain_values(
        {
            "task": ended.name,
            "key": ended.task.key,
            "status": ended.status,
            "seconds": round(ended.seconds, 3),
            "warnings": ended.warnings,
            **({"verdicts": ended.verdicts} if ended.verdicts else {}),
            "content": ended.content,
            **({"step": True} if ended.task.is_step else {}),
            **({"fault": vars(ended.fault)} if ended.fault else {}),
        }
    )
    return content


@dataclass(eq=False)
class Pace:
    """Says when tables are due, so that recording grows with the work and not with its square.

    Tables hold a line for every task so far: written after each task, they would cost a run of n
    tasks n^2 lines. Here they wait for a second at least, and for so long that writing takes a
    twentieth of the time.

    Args:
        clock: returns seconds, counted from any start.
    """

    clock: Callable[[], float] = time.monotonic
    _last: float | None = None
    _took: float = 0.0

    def is_due(self) -> bool:
        """Tell whether tables should be written now."""
        if self._last is None:
            return True
        return self.clock() - self._last >= max(INTERVAL_S, self._took / SHARE)

    def write(self, work: Callable[[], None]) -> None:
        """Write tables, and remember when and how long."""
        start = self.clock()
        work()
        self._last = self.clock()
        self._took = self._last - start
