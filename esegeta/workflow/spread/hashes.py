"""Hashes of images that processes tell each other: by path, size and time, a file a process."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from esegeta.report.shapes import HashTold
from esegeta.workflow.spread.own_journal import lines_of

SETTLED_NS = 2_000_000_000
"""A file that was written more lately may be written again within the same tick of its clock."""


@dataclass(eq=False)
class HashFolder:
    """A folder of hashes: all are read, and what is new goes to a file of this process.

    Args:
        path: of the folder.
        name: of this process.
    """

    path: Path
    name: str
    _known: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    _file: IO[str] | None = None

    def __post_init__(self) -> None:
        for file in sorted(self.path.glob("*.jsonl")):
            for line in lines_of(file, {"sha256": HashTold}):
                self._known[line["path"]] = (line["size"], line["mtime_ns"], line["sha256"])

    def find(self, path: Path, state: tuple[int, int]) -> str | None:
        """Return the hash of a file that is as it was."""
        found = self._known.get(str(path.absolute()))
        return found[2] if found is not None and found[:2] == state else None

    def keep(self, path: Path, state: tuple[int, int], sha256: str) -> None:
        """Write a hash down, unless the file may be changed again without its time telling."""
        if time.time_ns() - state[1] < SETTLED_NS:
            return
        where = str(path.absolute())
        self._known[where] = (*state, sha256)
        try:
            if self._file is None:
                self.path.mkdir(parents=True, exist_ok=True)
                self._file = (self.path / f"{self.name}.jsonl").open("a", encoding="utf-8")
            line = {"path": where, "size": state[0], "mtime_ns": state[1], "sha256": sha256}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError:
            return  # it is hashed again next time

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
