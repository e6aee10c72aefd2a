"""How a command stands, from files alone: nothing is built, no folder of a case is looked into."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from esegeta.errors import RunError
from esegeta.plain_json import json_sha256
from esegeta.report.files import read_record_head
from esegeta.volume import is_alive, write_json
from esegeta.workflow import journal as journals
from esegeta.workflow import lock
from esegeta.workflow.command import Command
from esegeta.workflow.spread.folder import (
    SharedFolder,
    commands_in,
    submitted_in,
    told_in,
)
from esegeta.workflow.spread.own_journal import JournalLine, JournalRead, head_of, read_journal
from esegeta.workflow.temporary_tables import TemporaryTables, key_of


@dataclass(frozen=True)
class Running:
    """A task that is being done.

    Args:
        task: its name.
        process: which part or worker does it.
        host: where.
        gpu: CUDA_VISIBLE_DEVICES of the process.
        log: the file that it prints to.
        seconds: since it was begun.
    """

    task: str
    process: str
    host: str
    gpu: str
    log: str
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A task that failed.

    Args:
        task: its name.
        message: why.
        host: where.
        gpu: CUDA_VISIBLE_DEVICES of the process.
        log: the file that the process prints to.
    """

    task: str
    message: str
    host: str = ""
    gpu: str = ""
    log: str = ""


@dataclass(frozen=True)
class Standing:
    """How one command stands.

    Args:
        command: such as run.
        done: tasks that are finished, now or before.
        failed: tasks that failed.
        running: tasks that are being done.
        waiting: how many are still to come; None where that is not known beforehand.
        per_hour: tasks an hour, of those that were done and not skipped; None before the first.
        left_s: time left at that rate; None where it cannot be told.
        logs: files that processes print to.
        submitted: the number of the job that is to do it, "" where it is not known; None once
            something was begun.
    """

    command: str
    done: int
    failed: tuple[Failed, ...]
    running: tuple[Running, ...]
    waiting: int | None
    per_hour: float | None = None
    left_s: float | None = None
    logs: tuple[str, ...] = field(default=())
    submitted: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, those of all commands by the same names."""
        return {key: value for key, value in asdict(self).items() if key != "submitted"}


EXPECTED = "expected.json"


def keep_expected(folder: SharedFolder, command: Command) -> None:
    """Write down how many tasks a command has and where its own journal is, for `status`."""
    whole = (command.folder / command.journal).relative_to(folder.root)
    content = {"num_tasks": command.num_tasks, "journal": str(whole)}
    write_json(folder.path / EXPECTED, content)


def standings_of(root: Path) -> list[Standing]:
    """Return how the commands of an output folder stand, those that were shared first.

    Raises:
        RunError: there is no such folder, or no command in it.
    """
    if not root.is_dir():
        raise RunError(f"{root}: no such folder", hint="give the folder <output>/<name>")
    shared = commands_in(root)
    found = [_shared(folder) for folder in shared]
    if not any(folder.command == "run" for folder in shared):
        found += _alone(root)
    known = {one.command for one in found}
    found += [_submitted(one) for one in submitted_in(root) if one.command not in known]
    if not found:
        raise RunError(
            f"{root}: nothing was run here",
            hint="`esegeta run` leaves its results in <output>/<name>",
        )
    return found


def _shared(folder: SharedFolder) -> Standing:
    origin = told_in(folder.origin)
    known = ("", json_sha256(origin))
    found = folder.journals
    current = [
        path for path in found if not origin or (head_of(path) or {}).get("origin", "") in known
    ]
    told = told_in(folder.path / EXPECTED)
    # What earlier runs finished stands there, unless they were of another config.
    is_of_another = len(current) < len(found) or _sha256_gathered(folder) not in known
    gathered = [] if is_of_another else _gathered(folder.root, told.get("journal"))
    expected = told.get("num_tasks")
    return _standing(folder.command, current, expected, folder.root, gathered)


def _sha256_gathered(folder: SharedFolder) -> str:
    """Return what tells the origin of what was gathered; "" where that was not written down."""
    try:
        return folder.gathered.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _gathered(root: Path, name: object) -> list[Path]:
    """Return the journal of the whole command, as it was gathered last; none of another folder."""
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        return []
    return [root / name]


def _alone(root: Path) -> list[Standing]:
    """Return how a run by one process stands; its journal does not say what was begun."""
    path = root / journals.NAME
    if not path.is_file():
        return []
    expected = read_record_head(root).get("num_tasks")
    return [_standing("run", [path], expected, root)]


def _submitted(folder: SharedFolder) -> Standing:
    """Return how a command stands whose controller waits for its turn, or died before its work."""
    told = told_in(folder.submission)
    job, log = (str(told.get(key) or "") for key in ("job", "log"))
    logs = (log,) if log else ()
    return Standing(folder.command, 0, (), (), waiting=None, logs=logs, submitted=job)


SCHEMA = """
CREATE TABLE ended (task BLOB PRIMARY KEY, is_failed INTEGER, is_gathered INTEGER) WITHOUT ROWID
"""


class _Endings:
    """Which tasks have ended, each of them once, though several journals may name it."""

    def __init__(self) -> None:
        self._tables = TemporaryTables(SCHEMA)
        self._failures: dict[str, Failed] = {}

    def take_gathered(self, line: JournalLine, head: JournalLine) -> None:
        """Take a line of the journal into which those of processes were gathered before."""
        self._take(line, head, is_gathered=True)

    def take(self, line: JournalLine, head: JournalLine) -> None:
        """Take a line of a process's journal; what is done stays so, unless that was gathered."""
        self._take(line, head, is_gathered=False)

    def _take(self, line: JournalLine, head: JournalLine, *, is_gathered: bool) -> None:
        name = line["task"]
        query = "SELECT is_failed, is_gathered FROM ended WHERE task = ?"
        known = self._tables.row(query, (key_of(name),))
        is_failed = line["status"] == "failed"
        if line.get("step") or known == (0, 0):
            return
        values = (key_of(name), is_failed, is_gathered)
        self._tables.run("INSERT OR REPLACE INTO ended VALUES (?, ?, ?)", values)
        if is_failed:
            where = {key: str(head.get(key, "")) for key in ("host", "gpu", "log")}
            self._failures[name] = Failed(name, line["fault"]["message"], **where)
        else:
            self._failures.pop(name, None)

    def __contains__(self, name: str) -> bool:
        return self._tables.row("SELECT 1 FROM ended WHERE task = ?", (key_of(name),)) is not None

    def __len__(self) -> int:
        (count,) = self._tables.row("SELECT count(*) FROM ended") or (0,)
        return int(count)

    @property
    def failed(self) -> tuple[Failed, ...]:
        return tuple(self._failures.values())


def _standing(
    command: str,
    own: Sequence[Path],
    expected: object,
    root: Path,
    gathered: Sequence[Path] = (),
) -> Standing:
    """Return how a command stands by its journals; those that were gathered tell no rate."""
    endings = _Endings()
    for path in gathered:
        read_journal(path, endings.take_gathered)
    reads = [read_journal(path, endings.take) for path in own]
    done = len(endings) - len(endings.failed)
    running = tuple(one for read in reads for one in _running(read, root))
    waiting = None
    if isinstance(expected, int) and expected:
        shown = sum(one.task not in endings for one in running)
        waiting = max(0, expected - len(endings) - shown)
    rate = _rate(reads)
    left = None
    if rate and waiting is not None:
        left = (waiting + len(running)) / rate
    logs = tuple(sorted({str(read.head["log"]) for read in reads if read.head.get("log")}))
    per_hour = None if rate is None else 3600 * rate
    return Standing(command, done, endings.failed, running, waiting, per_hour, left, logs)


def _running(read: JournalRead, root: Path) -> list[Running]:
    if read.state or not read.begun or not _may_run(read, root):
        return []
    where = {key: str(read.head.get(key, "")) for key in ("process", "host", "gpu", "log")}
    seconds = max(0.0, time.time() - read.since)
    return [Running(task, **where, seconds=round(seconds, 1)) for task in read.begun[:1]]


def _may_run(read: JournalRead, root: Path) -> bool:
    if read.head.get("host") == platform.node():
        return is_alive(int(read.head.get("pid", 0)))
    held = [*lock.living(root), *([root / lock.NAME] if (root / lock.NAME).is_file() else [])]
    return bool(held)


def _rate(reads: Sequence[JournalRead]) -> float | None:
    """Return tasks a second of those that were done since the first process started."""
    count = sum(read.num_done for read in reads)
    started = [
        datetime.fromisoformat(read.head["started"]).timestamp()
        for read in reads
        if read.head.get("started")
    ]
    if not count or not started:
        return None
    ended = max(read.path.stat().st_mtime for read in reads)
    seconds: float = max(ended - min(started), 1e-3)
    return count / seconds
