"""One process at a time on an output folder: a file that says who is at work there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from esegeta.errors import OutputError
from esegeta.plain_json import parse_json
from esegeta.volume import is_alive

NAME = ".lock"
SHARED = Path(".cluster") / "locks"
"""Where processes that share a folder have a file each, which says the same of them."""
GATHERING = "gathering"
"""The part of whoever writes tables from what others have done: it is in nobody's way."""
BUSY = (errno.EWOULDBLOCK, errno.EACCES)
BEAT_S = 15.0
"""How often whoever holds a folder touches its file."""
STALE_S = 600.0
"""A file of another host that was not touched for so long belongs to nobody who is alive."""


@dataclass(frozen=True)
class Holder:
    """Who holds a folder.

    Args:
        host: name of the machine.
        pid: of the process there.
        born: when the process started, as its system counts; tells it from a later one with its
            number. Empty where the system does not say.
        since: when it took the folder, in words.
        job: its number in the batch system; empty outside of one.
        restart: how often the batch system had started that job anew.
    """

    host: str
    pid: int
    born: str = ""
    since: str = ""
    job: str = ""
    restart: int = 0

    @classmethod
    def this_process(cls) -> Holder:
        """Return the holder that this process is."""
        pid = os.getpid()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        job = "_".join(os.environ[name] for name in JOB_OF if os.environ.get(name))
        restart = os.environ.get("SLURM_RESTART_COUNT", "")
        restarts = int(restart) if restart.isdigit() else 0
        return cls(platform.node(), pid, _born(pid), now, job, restarts)

    @classmethod
    def told_by(cls, content: bytes) -> Holder | None:
        """Return the holder that a file tells of; None where that is not what one writes."""
        try:
            told = parse_json(content)
        except ValueError:
            return None
        like = vars(cls("", 0))
        named = told if isinstance(told, dict) else {}
        is_sound = all(type(value) is type(like.get(name)) for name, value in named.items())
        return cls(**named) if is_sound and {"host", "pid"} <= named.keys() else None

    def may_be_alive(self, untouched_s: float) -> bool:
        """Tell whether it may still be at work.

        Args:
            untouched_s: how long its file was not touched: all that is known of another host.
        """
        if self.host != platform.node():
            me = Holder.this_process()
            is_requeued = bool(me.job) and me.job == self.job and me.restart > self.restart
            return untouched_s < STALE_S and not is_requeued
        if not is_alive(self.pid):
            return False
        return not (self.born and _born(self.pid)) or self.born == _born(self.pid)


JOB_OF = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_ID", "PBS_JOBID", "JOB_ID")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as the block runs; nobody else holds it, or a part of its work.

    Raises:
        OutputError: another process holds it or a part, or the folder cannot be written.
    """
    with held(folder / NAME):
        for path in living(folder):
            raise _refusal(folder, path, _holder_in(path))
        yield


@contextmanager
def shared(folder: Path, name: str, whole: str) -> Iterator[None]:
    """Hold a part of the work on a folder, beside others who hold other parts.

    Args:
        folder: on which the work is done.
        name: of the part; no two processes hold it at a time.
        whole: what all parts' names end with that may be held at the same time.

    Raises:
        OutputError: another process holds the part, or all of the folder, or a part of another
            whole; or the folder cannot be written.
    """
    # Each makes its own file and only then looks for others: of two, one sees the other at least.
    with held(folder / SHARED / name):
        lock = folder / NAME
        if lock.is_file() and _is_held(lock):
            raise _refusal(folder, lock, _holder_in(lock))
        for path in living(folder):
            if not path.name.endswith(whole) and path.name != GATHERING:
                raise _refusal(folder, path, _holder_in(path))
        yield


def living(folder: Path) -> list[Path]:
    """Return the files of processes that hold a part of the work on a folder."""
    return [path for path in sorted((folder / SHARED).glob("*")) if _is_held(path)]


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold what a file stands for, for as long as the block runs.

    What a dead process left is taken over. The system's own lock on the file decides
    between processes that ask at the same time; the file's content serves where that lock does not
    reach, as on some network disks.

    Raises:
        OutputError: another process holds it, or the folder cannot be written.
    """
    handle = _take(path)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        path.unlink(missing_ok=True)
        os.close(handle)


def _beat(path: Path, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        try:
            os.utime(path)
        except OSError:  # a disk that is away for a while; the next one tells
            continue


def _take(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _require_free(path, handle)
                # Whoever held it may have removed the file between our opening and locking it.
                if _is_still(path, handle):
                    text = json.dumps(asdict(Holder.this_process()))
                    os.ftruncate(handle, 0)
                    os.pwrite(handle, text.encode(), 0)
                    return handle
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot write here ({error.strerror or error})",
            hint="choose another folder with `output:` or -o, or change its permissions",
        ) from error


def _require_free(path: Path, handle: int) -> None:
    is_ours = True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            is_ours = False  # else the disk knows no such locks, and the content must do
    holder = _holder(handle)
    me = Holder.this_process()
    is_me = holder is not None and (holder.host, holder.pid) == (me.host, me.pid)
    if is_ours and (holder is None or is_me or not holder.may_be_alive(_untouched_s(path))):
        return
    raise _refusal(path.parent, path, holder)


def _refusal(folder: Path, path: Path, holder: Holder | None) -> OutputError:
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    since = f" since {holder.since}" if holder and holder.since else ""
    return OutputError(
        f"{folder}: {who} is working on this folder{since}",
        hint=f"wait until it ends, or choose another folder with `output:` or -o; if it is "
        f"gone for good, remove {path}",
    )


def _holder(handle: int) -> Holder | None:
    """Return who wrote the file; None where it is new, or was cut off by a crash."""
    return Holder.told_by(os.pread(handle, 4096, 0))


def _holder_in(path: Path) -> Holder | None:
    try:
        return Holder.told_by(path.read_bytes())
    except OSError:
        return None


def _is_held(path: Path) -> bool:
    holder = _holder_in(path)
    return holder is not None and holder.may_be_alive(_untouched_s(path))


def _untouched_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _is_still(path: Path, handle: int) -> bool:
    try:
        there, ours = path.stat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _born(pid: int) -> str:
    """Return the start time of a process in ticks since the machine was switched on."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
