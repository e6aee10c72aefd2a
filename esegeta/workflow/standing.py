"""What records of all commands say alike: how the work stands, since when, and of which files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from esegeta.report.shapes import NotesTold, read_told
from esegeta.volume import write_json
from esegeta.workflow.command import CommandState
from esegeta.workflow.task import Desk, Ended


class Stopwatch:
    """Measures how long a command has been at work, from the moment that it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long that is, in seconds as records hold them."""
        return round(time.perf_counter() - self._start, 3)

    def standing(self, state: CommandState, notes: Sequence[str], **counts: int) -> dict[str, Any]:
        """Return how the work stands, in the order of every record; counts go before the time."""
        return {"notes": list(notes), "state": state.word, **counts, "seconds": self.seconds}


class TaskRecord:
    """The record of a command whose every task is a result, written whole each time.

    Args:
        path: path of the file.
        head: what it begins with, whatever becomes of the tasks.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path, self._head = path, head
        self._watch = Stopwatch()

    def write(
        self,
        state: CommandState,
        notes: Sequence[str],
        units: Iterable[Mapping[str, Any]],
        **more: Any,
    ) -> None:
        """Write it as things stand.

        Args:
            state: state of the command.
            notes: what the user should know.
            units: how each task ended; a key that whoever reads records relies on.
            more: entries that stand before the tasks.
        """
        standing = self._watch.standing(state, notes)
        write_json(self._path, {**self._head, **standing, **more, "units": list(units)})


class EarlierNotes:
    """The notes of an earlier run, to be made before its record is replaced.

    Args:
        record: path of the record.
    """

    def __init__(self, record: Path) -> None:
        self._notes = (read_told(record, NotesTold) or {}).get("notes") or []

    def repeat(self, results: Sequence[Ended], desk: Desk) -> None:
        """Say them again where nothing was left to do."""
        if results and all(ended.status == "skipped" for ended in results):
            desk.note(*(str(note) for note in self._notes))


def sha256_by_path(inputs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the SHA-256 of every file by its path, of those of each case."""
    return {path: sha256 for files in inputs.values() for path, sha256 in files.items()}
