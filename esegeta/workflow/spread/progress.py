"""What workers do, as their journals tell it while they write: no message is sent for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import ended_from, line_in
from esegeta.workflow.task import Content, Desk, Ended, Kind, Listener, Task
from esegeta.workflow.temporary_tables import TemporaryTables, key_of

SCHEMA = "CREATE TABLE told (task BLOB PRIMARY KEY) WITHOUT ROWID"


class ToldOnce:
    """A listener that tells another how tasks end, of each task once, though others skip it too.

    Args:
        listener: the other.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._told = TemporaryTables(SCHEMA)

    def note(self, text: str) -> None:
        """Hand a note on."""
        self._listener.note(text)

    def expect(self, tasks: int) -> None:
        """Hand on how many more tasks there are."""
        self._listener.expect(tasks)

    def begin(self, name: str, tasks: int = 0, windows: int | None = None) -> None:
        """Hand on what is being worked on."""
        self._listener.begin(name, tasks, windows)

    def advance(self, windows: int) -> None:
        """Hand on how many windows went through the network."""
        self._listener.advance(windows)

    def end(self, ended: Ended) -> None:
        """Tell how a task ended that was not told of yet."""
        name = (key_of(ended.name),)
        if self._told.row("SELECT 1 FROM told WHERE task = ?", name) is None:
            self._told.run("INSERT INTO told VALUES (?)", name)
            self._listener.end(ended)


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
