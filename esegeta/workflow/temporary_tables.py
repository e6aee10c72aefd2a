"""Tables outside of memory, for what grows with the tasks of a study: rows of an SQLite file.

The file has no name and goes with the process. SQLite keeps a few megabytes of it in memory, so
that of small studies nothing comes to a disk.
"""

from __future__ import annotations

import pickle
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

from esegeta.errors import DiskFullError
from esegeta.workflow.task import Kind

NO_NAME = ""
"""To SQLite, a file of its own in the folder of temporary files, removed when it is closed."""


class TemporaryTables:
    """Tables in a file without a name, as long as whoever made them holds on to them.

    Args:
        schema: statements of SQL that make them.
    """

    def __init__(self, schema: str) -> None:
        # One thread at a time asks; which one may change, as Dask hands on what a worker keeps.
        self._connection = sqlite3.connect(NO_NAME, isolation_level=None, check_same_thread=False)
        self._connection.executescript(f"PRAGMA journal_mode = MEMORY; {schema}")
        weakref.finalize(self, self._connection.close)

    def run(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Run a statement that returns nothing.

        Raises:
            DiskFullError: there is no space left for temporary files.
        """
        try:
            self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise _refusal(error) from error

    def rows(self, statement: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows that a statement selects, a few at a time.

        Raises:
            DiskFullError: there is no space left to sort them.
        """
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            raise _refusal(error) from error

    def row(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row that a statement selects, or None."""
        return next(self.rows(statement, values), None)


NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
)
PRIMARY = 0xFF
"""The bits of an error code that say what kind of error it is."""


def _refusal(error: sqlite3.DatabaseError) -> Exception:
    if error.sqlite_errorcode & PRIMARY not in NO_ROOM:
        return error
    return DiskFullError(
        f"the folder of temporary files takes no more ({error})",
        hint="free some space there, or start again with another folder in SQLITE_TMPDIR",
    )


def key_of(name: str) -> bytes:
    """Return a name as a key of tables, also where it is no text that can be encoded."""
    return name.encode("utf-8", "surrogatepass")


class Packer:
    """Packs values into bytes and back; kinds of tasks stay what they are, in this process."""

    def __init__(self) -> None:
        self._kinds: dict[int, Kind] = {}

    def pack(self, value: object) -> bytes:
        """Return a value as bytes that this packer can unpack."""
        stream = BytesIO()
        _Pickler(stream, self._kinds).dump(value)
        return stream.getvalue()

    def unpack(self, packed: bytes) -> Any:
        """Return a value that was packed."""
        return _Unpickler(BytesIO(packed), self._kinds).load()


class _Pickler(pickle.Pickler):
    def __init__(self, stream: BytesIO, kinds: dict[int, Kind]) -> None:
        super().__init__(stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._kinds = kinds

    def persistent_id(self, value: object) -> int | None:
        if not isinstance(value, Kind):
            return None
        self._kinds[id(value)] = value
        return id(value)


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: BytesIO, kinds: dict[int, Kind]) -> None:
        super().__init__(stream)
        self._kinds = kinds

    def persistent_load(self, number: int) -> Kind:
        return self._kinds[number]
