"""Rows that an earlier run left in the tables: they stay until their task has ended again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from esegeta.report.csv_tables import (
    CURVE_COLUMNS,
    PREDICTION_COLUMNS,
    REGION_COLUMNS,
    SCORE_COLUMNS,
    cells_of,
    read_rows,
)
from esegeta.results_folder import CURVES_TABLE, PREDICTIONS_TABLE, REGIONS_TABLE, SCORES_TABLE
from esegeta.workflow.temporary_tables import TemporaryTables

Rows = Mapping[str, Iterable[Sequence[str]]]
"""Rows of tables as they stand in their files, by the file's name."""

TABLES: Mapping[str, Sequence[str]] = {
    SCORES_TABLE: SCORE_COLUMNS,
    CURVES_TABLE: CURVE_COLUMNS,
    REGIONS_TABLE: REGION_COLUMNS,
    PREDICTIONS_TABLE: PREDICTION_COLUMNS,
}
OF_TASK = ("case", "target", "method")
"""Columns that tell whose a row is, as far as a table has them."""
SCHEMA = """
CREATE TABLE kept (number INTEGER PRIMARY KEY, name TEXT, owner TEXT, cells TEXT);
CREATE INDEX names ON kept (name, number);
CREATE TABLE ended (owner TEXT PRIMARY KEY);
"""
NOT_ENDED = "owner NOT IN (SELECT owner FROM ended)"


class RowsBefore:
    """The rows of all tables of a folder, of which those of tasks that have ended are left out.

    They are read when they are first asked for: by whoever writes the tables, before it does.

    Args:
        root: the run's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @cached_property
    def _tables(self) -> TemporaryTables:
        tables = TemporaryTables(SCHEMA)
        for name, columns in TABLES.items():
            length = sum(column in OF_TASK for column in columns)
            for cells in read_rows(self._root / name, columns):
                tables.run(
                    "INSERT INTO kept (name, owner, cells) VALUES (?, ?, ?)",
                    (name, json.dumps(cells[:length]), json.dumps(cells)),
                )
        return tables

    def without(self, owners: Iterable[Iterable[object]]) -> Rows:
        """Return the rows of all but some tasks, by table; of one without any, nothing.

        They are found anew each time: a command that is gathered twice begins without any result.

        Args:
            owners: names of each of these tasks: its case alone, or target and method too.
        """
        self._tables.run("DELETE FROM ended")
        for names in owners:
            owner = json.dumps(cells_of(names))
            self._tables.run("INSERT OR IGNORE INTO ended VALUES (?)", (owner,))
        found = self._tables.rows(f"SELECT DISTINCT name FROM kept WHERE {NOT_ENDED}")
        return {name: self._of(name) for (name,) in list(found)}

    def _of(self, name: str) -> Iterator[list[str]]:
        statement = f"SELECT cells FROM kept WHERE name = ? AND {NOT_ENDED} ORDER BY number"
        for (cells,) in self._tables.rows(statement, (name,)):
            yield json.loads(cells)
