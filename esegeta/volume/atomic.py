"""Files appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path
from typing import Any

from esegeta.errors import DISK_FULL, FREE_SPACE, DiskFullError, OutputError, system_error
from esegeta.stop import signals_held

TEMPORARY = ".tmp-"
WRITER = re.compile(r"^\.tmp-(?P<node>.*)-(?P<pid>\d+)-[^-]*$")
_LISTS: ContextVar[tuple[list[Path], ...]] = ContextVar("lists of written files", default=())
"""Of those who want to know what is written, the innermost last."""


@contextmanager
def noting_written() -> Iterator[list[Path]]:
    """List the files that appear meanwhile, so that whoever answers for them forgets none."""
    noted: list[Path] = []
    token = _LISTS.set((*_LISTS.get(), noted))
    try:
        yield noted
    finally:
        _LISTS.reset(token)


def written_so_far() -> tuple[Path, ...]:
    """Return the files that the innermost list holds and that are there; none without a list."""
    noted = [path for innermost in _LISTS.get()[-1:] for path in innermost]
    return tuple(path for path in dict.fromkeys(noted) if path.is_file())


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`.

    The temporary name keeps the suffix (writers choose the format by it), starts with a dot, and
    names its writer, so that `sweep` can tell what a killed process left behind.

    Raises:
        OutputError: the folder cannot be written, or the path is a folder itself.
    """
    temporary: Path | None = None
    try:
        with output_faults(path):
            with signals_held():  # until it is known here, nobody could remove it
                temporary = _new_file(path)
            yield temporary
            # mkstemp makes private files; results are as readable as any other file of the user.
            temporary.chmod(0o666 & ~_umask())
            _to_disk(temporary)
            temporary.replace(path)
            _to_disk(path.parent)
            for noted in _LISTS.get():
                noted.append(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def output_faults(path: Path) -> Iterator[None]:
    """Say of what the system refuses, a full disk or a vanished folder, which file it was for.

    Raises:
        OutputError: the system refused to write, in whichever library's words.
    """
    try:
        yield
    except Exception as error:
        told = system_error(error)
        if told is None:
            raise
        raise refusal_to_write(path, told) from error


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would outlast a loss of power.

    Without it a system may keep the new name and lose what it stands for.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a disk that knows no such thing
            raise
    finally:
        os.close(handle)


def temporary_name(rest: str) -> str:
    """Return a name by which `sweep` knows a temporary file of this process.

    Args:
        rest: what it ends with; without a dash.
    """
    return f"{TEMPORARY}{platform.node()}-{os.getpid()}-{rest}"


def _new_file(path: Path) -> Path:
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(suffix, temporary_name(""), path.parent)
    except OSError as error:
        raise refusal_to_write(path.parent, error) from error
    os.close(handle)
    return Path(name)


def sweep(folder: Path, ended: Collection[tuple[str, int]] = ()) -> None:
    """Remove the temporary files under a folder whose writer is dead.

    Args:
        folder: folder to look through.
        ended: hosts and process numbers that are known to have ended; those of this host are
            asked after.
    """
    for path in folder.rglob(f"{TEMPORARY}*"):
        found = WRITER.match(path.name)
        if found is None:
            continue
        node, pid = found["node"], int(found["pid"])
        if (node, pid) in ended or (node == platform.node() and not is_alive(pid)):
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; NaN and Inf become null, for JSON has neither.

    Args:
        path: path of the file to write.
        content: what it holds; an iterator is written as a list, and only one entry of it at a
            time is in memory.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(_json_parts(content))


def _json_parts(content: Mapping[str, Any]) -> Iterator[str]:
    if not content:
        yield "{}\n"
        return
    start = "{"
    for key, value in content.items():
        yield f"{start}\n{_entry(key)}"
        start = ","
        if isinstance(value, Iterator):
            yield from _json_list(value)
        else:
            yield _json_text(value).replace("\n", "\n  ")
    yield "\n}\n"


def _entry(key: Any) -> str:
    """Return how the line begins on which an entry of a file stands."""
    return f"  {_json_text(str(key))}: "


def json_before_list(lines: Iterable[str], key: str) -> str:
    """Return the JSON of what `write_json` wrote before a list; of all where there is none.

    Args:
        lines: lines of the file; none is read beyond the first of the list.
        key: key under which the list stands.
    """
    start = f"{_entry(key)}["
    text = "".join(takewhile(lambda line: not line.startswith(start), lines)).rstrip()
    return f"{text.removesuffix(',')}}}" if text.endswith((",", "{")) else text


def _json_list(entries: Iterator[Any]) -> Iterator[str]:
    start = "["
    for entry in entries:
        yield f"{start}\n    " + _json_text(entry).replace("\n", "\n    ")
        start = ","
    yield "[]" if start == "[" else "\n  ]"


def _json_text(value: Any) -> str:
    return json.dumps(plain_values(value), indent=2, ensure_ascii=False)


def plain_values(value: Any) -> Any:
    """Return a value as JSON can hold it: paths as text, tuples as lists, NaN and Inf as None."""
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def is_alive(pid: int) -> bool:
    """Tell whether a process of this host is alive."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is there, and belongs to somebody else
        return True
    return True


def refusal_to_write(path: Path, error: OSError) -> OutputError:
    """Return what to say where the system lets nothing be written."""
    said = f"{path}: cannot write here ({error.strerror or error})"
    if error.errno in DISK_FULL:
        return DiskFullError(said, hint=FREE_SPACE)
    return OutputError(
        said, hint="choose another folder with `output:` or -o, or change its permissions"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
