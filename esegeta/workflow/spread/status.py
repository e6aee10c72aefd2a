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
from esegeta.plain_json import parse_json
from esegeta.results_folder import RUN_RECORD
from esegeta.volume import is_alive, write_json
from esegeta.workflow import journal as journals
from esegeta.workflow import lock
from esegeta.workflow.command import Command
from esegeta.workflow.spread.folder import SharedFolder, commands_in, sha256_of
from esegeta.workflow.spread.own_journal import JournalRead, read_journal


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
    """

    command: str
    done: int
    failed: tuple[Failed, ...]
    running: tuple[Running, ...]
    waiting: int | None
    per_hour: float | None = None
    left_s: float | None = None
    logs: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


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
    if not found:
        raise RunError(
            f"{root}: nothing was run here",
            hint="`esegeta run` leaves its results in <output>/<name>",
        )
    return found


def _shared(folder: SharedFolder) -> Standing:
    origin = _told(folder.origin)
    known = ("", sha256_of(origin))
    reads = [read_journal(path) for path in folder.journals]
    current = [read for read in reads if not origin or read.head.get("origin", "") in known]
    told = _told(folder.path / EXPECTED)
    # What earlier runs finished stands there; of another config, where parts of one lie beside it.
    gathered = [] if len(current) < len(reads) else _gathered(folder.root, told.get("journal"))
    expected = told.get("num_tasks")
    return _standing(folder.command, current, expected, folder.root, gathered)


def _gathered(root: Path, name: object) -> list[JournalRead]:
    """Return the journal of the whole command, as it was gathered last; none of another folder."""
    if not isinstance(name, str) or Path(name).is_absolute() or ".." in Path(name).parts:
        return []
    return [read_journal(root / name)]


def _alone(root: Path) -> list[Standing]:
    """Return how a run by one process stands; its journal does not say what was begun."""
    path = root / journals.NAME
    if not path.is_file():
        return []
    expected = _told(root / RUN_RECORD).get("num_tasks")
    return [_standing("run", [read_journal(path)], expected, root)]


def _standing(
    command: str,
    reads: Sequence[JournalRead],
    expected: object,
    root: Path,
    gathered: Sequence[JournalRead] = (),
) -> Standing:
    """Return how a command stands by its journals; those that were gathered tell no rate."""
    statuses: dict[str, str] = {}
    failures: dict[str, Failed] = {}
    for read in (*gathered, *reads):
        for line in read.lines:
            name = line["task"]
            if line.get("step") or statuses.get(name) in ("done", "skipped"):
                continue
            statuses[name] = line["status"]
            if line["status"] == "failed":
                where = {key: str(read.head.get(key, "")) for key in ("host", "gpu", "log")}
                failures[name] = Failed(name, line["fault"]["message"], **where)
    failed = tuple(one for name, one in failures.items() if statuses[name] == "failed")
    done = len(statuses) - len(failed)
    running = tuple(one for read in reads for one in _running(read, root))
    waiting = None
    if isinstance(expected, int) and expected:
        shown = sum(one.task not in statuses for one in running)
        waiting = max(0, expected - len(statuses) - shown)
    rate = _rate(reads)
    left = None
    if rate and waiting is not None:
        left = (waiting + len(running)) / rate
    logs = tuple(sorted({str(read.head["log"]) for read in reads if read.head.get("log")}))
    per_hour = None if rate is None else 3600 * rate
    return Standing(command, done, failed, running, waiting, per_hour, left, logs)


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
    count: int = sum(
        line["status"] == "done" and not line.get("step") for r in reads for line in r.lines
    )
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


def _told(path: Path) -> dict[str, Any]:
    """Return what a file tells; nothing where it is not there, or holds no object."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
