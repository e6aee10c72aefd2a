"""How tasks ended by the journals of all processes; outside of memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import JournalLine, lines_of
from esegeta.workflow.task import Task
from esegeta.workflow.temporary_tables import TemporaryTables, key_of

SCHEMA = """
CREATE TABLE ended (
    task BLOB, key BLOB, status TEXT, line TEXT, is_gathered INTEGER, PRIMARY KEY (task, key)
);
"""
KEEP_BEST = """
INSERT INTO ended VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET status = excluded.status, line = excluded.line, is_gathered = excluded.is_gathered
WHERE status = 'failed' OR excluded.status = 'done' OR (
    is_gathered AND excluded.status = 'failed'
);
"""
"""Of what processes say, what was done counts, failures least. What was gathered is older: a
task that was done then, and has failed since, has failed."""


class EndedLines:
    """The line that counts of each task, by its name and key.

    Args:
        folder: of the processes.
        whole: the journal of the whole command, into which what others say was gathered before.
        take: returns what counts of a line, or None.
    """

    def __init__(
        self, folder: SharedFolder, whole: Path, take: Callable[[JournalLine], JournalLine | None]
    ) -> None:
        self._tables = TemporaryTables(SCHEMA)
        self._take = take
        for path in (whole, *folder.journals):
            head: JournalLine = {}
            for line in lines_of(path):
                head = line if "process" in line else head
                if "task" not in line:
                    continue
                if head and line.get("fault"):
                    line = {**line, "fault": _placed(line["fault"], head)}
                keys = _keys_of(line["task"], line["key"])
                values = (*keys, line["status"], json.dumps(line), path == whole)
                self._tables.run(KEEP_BEST, values)

    def of(self, task: Task) -> JournalLine | None:
        """Return how a task ended; None where no journal says it."""
        keys = _keys_of(task.name, task.key)
        row = self._tables.row("SELECT line FROM ended WHERE task = ? AND key = ?", keys)
        return None if row is None else self._take(json.loads(row[0]))


def _keys_of(name: str, key: str | None) -> tuple[bytes, bytes]:
    return key_of(name), key_of(key or "")


def _placed(fault: dict[str, Any], head: JournalLine) -> dict[str, Any]:
    """Return a fault that says where it happened."""
    where = [f"{head['process']} on {head['host']}"]
    where += [f"GPU {head['gpu']}"] if head["gpu"] else []
    where += [f"log {head['log']}"] if head["log"] else []
    return {**fault, "message": f"{fault['message']} ({', '.join(where)})"}
