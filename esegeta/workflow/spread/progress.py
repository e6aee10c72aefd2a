"""What workers do, as their journals tell it while they write: no message is sent for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import ended_from, line_in
from esegeta.workflow.task import Content, Desk, Ended, Kind, Task


@dataclass(eq=False)
class Tail:
    """Reads what is new in the journals of a command's workers.

    Args:
        folder: of the command.
    """

    folder: SharedFolder
    _read: dict[str, int] = field(default_factory=dict)

    def ended(self) -> Iterator[Ended]:
        """Yield how tasks have ended since this was asked last, steps left out."""
        for line in self._lines():
            if "task" in line and not line.get("step"):
                yield ended_from(line, Task(name=line["task"], kind=ELSEWHERE, key=line["key"]))

    def _lines(self) -> Iterator[dict[str, Any]]:
        for path in self.folder.journals:
            if not path.name.startswith("worker-"):
                continue
            with path.open("rb") as stream:
                stream.seek(self._read.get(path.name, 0))
                for text in stream:
                    if not text.endswith(b"\n"):
                        break  # it is being written
                    self._read[path.name] = self._read.get(path.name, 0) + len(text)
                    line = line_in(text)
                    if line is not None:
                        yield line


def _done_elsewhere(task: Task, desk: Desk) -> Content:
    raise NotImplementedError("a worker does it")


ELSEWHERE = Kind(_done_elsewhere)
"""Of tasks that only need a name here."""
