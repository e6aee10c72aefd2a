"""How the tasks of a command have ended, in the order of tables; outside of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from struct import pack
from typing import overload

from esegeta.workflow.task import Ended
from esegeta.workflow.temporary_tables import Packer, TemporaryTables

SCHEMA = """
CREATE TABLE ended (number INTEGER PRIMARY KEY, is_step INTEGER, place BLOB, packed BLOB);
CREATE INDEX places ON ended (is_step, place, number);
"""


@dataclass(eq=False)
class EndedTasks:
    """Takes how tasks end, one by one, and tells it as often as tables are written."""

    _tables: TemporaryTables = field(default_factory=lambda: TemporaryTables(SCHEMA))
    _packer: Packer = field(default_factory=Packer)

    def append(self, ended: Ended) -> None:
        """Take how a task ended."""
        task = ended.task
        place = b"" if task.is_step else _place_of(task.order)
        self._tables.run(
            "INSERT INTO ended (is_step, place, packed) VALUES (?, ?, ?)",
            (task.is_step, place, self._packer.pack(ended)),
        )

    def clear(self) -> None:
        """Forget all of them."""
        self._tables.run("DELETE FROM ended")

    @property
    def results(self) -> Sequence[Ended]:
        """Those that are no steps, in the order of tables."""
        return _EndedView(self._tables, self._packer, is_step=False)

    @property
    def steps(self) -> Sequence[Ended]:
        """Steps, in the order in which they ended."""
        return _EndedView(self._tables, self._packer, is_step=True)


def _place_of(order: Sequence[int]) -> bytes:
    """Return bytes that sort as the numbers do, negative ones too."""
    return pack(f">{len(order)}Q", *(number + 2**63 for number in order))


@dataclass(eq=False, frozen=True)
class _EndedView(Sequence[Ended]):
    """Results or steps, as they are when they are asked for: each time they are unpacked anew."""

    tables: TemporaryTables
    packer: Packer
    is_step: bool

    def __len__(self) -> int:
        row = self.tables.row("SELECT count(*) FROM ended WHERE is_step = ?", (self.is_step,))
        assert row is not None
        return int(row[0])

    def __iter__(self) -> Iterator[Ended]:
        return self._from(0)

    @overload
    def __getitem__(self, place: int) -> Ended: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Ended]: ...
    def __getitem__(self, place: int | slice) -> Ended | Sequence[Ended]:
        if isinstance(place, slice):
            return list(self)[place]
        found = next(self._from(place if place >= 0 else place + len(self)), None)
        if place < -len(self) or found is None:
            raise IndexError(f"{place}: {len(self)} tasks have ended")
        return found

    def _from(self, first: int) -> Iterator[Ended]:
        rows = self.tables.rows(
            "SELECT packed FROM ended WHERE is_step = ? ORDER BY place, number LIMIT -1 OFFSET ?",
            (self.is_step, first),
        )
        for (packed,) in rows:
            yield self.packer.unpack(packed)
