"""One process at a time on an output folder: a file that says who is at work there."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from esegeta.errors import OutputError
from esegeta.plain_json import parse_json
from esegeta.volume import is_alive

NAME = ".lock"
BUSY = (errno.EWOULDBLOCK, errno.EACCES)


@dataclass(frozen=True)
class Holder:
    """Who holds a folder.

    Args:
        host: name of the machine.
        pid: of the process there.
        born: when the process started, as its system counts; tells it from a later one with its
            number. Empty where the system does not say.
        since: when it took the folder, in words.
    """

    host: str
    pid: int
    born: str = ""
    since: str = ""

    @classmethod
    def this_process(cls) -> Holder:
        """Return the holder that this process is."""
        pid = os.getpid()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), pid, _born(pid), now)

    @property
    def may_be_alive(self) -> bool:
        """Whether it may still be at work; of another host nobody here can tell."""
        if self.host != platform.node():
            return True
        if not is_alive(self.pid):
            return False
        return not (self.born and _born(self.pid)) or self.born == _born(self.pid)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for as long as the block runs.

    What a dead process of this host left is taken over. The system's own lock on the file decides
    between processes that ask at the same time; the file's content serves where that lock does not
    reach, as on some network disks.

    Raises:
        OutputError: another process holds it, or the folder cannot be written.
    """
    path = folder / NAME
    handle = _take(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


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
    if is_ours and (holder is None or is_me or not holder.may_be_alive):
        return
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    since = f" since {holder.since}" if holder and holder.since else ""
    raise OutputError(
        f"{path.parent}: {who} is working on this folder{since}",
        hint=f"wait until it ends, or choose another folder with `output:` or -o; if it is "
        f"gone for good, remove {path}",
    )


def _holder(handle: int) -> Holder | None:
    """Return who wrote the file; None where it is new, or was cut off by a crash."""
    try:
        return Holder(**parse_json(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):
        return None


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
