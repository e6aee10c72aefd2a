"""What is kept between runs: records of JSON or tensors, each with its fingerprint."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from esegeta.errors import OutputError
from esegeta.plain_json import json_sha256, parse_json
from esegeta.report.contents import (
    CONTENTS,
    Check,
    contents_of,
    from_record,
    is_intact,
    is_sealed,
    sealed,
)
from esegeta.volume import atomic_path, write_json, written_so_far
from esegeta.workflow.task import Content, Task

MARK = "fingerprint"
"""The key under which a record holds its fingerprint."""
FILES = "files"
"""The key under which a JSON record names the files that belong to it, beside it."""
FACTS = "facts"
"""The key under which the header of a record of tensors holds plain values."""
TENSORS = ".safetensors"
RECORD = "record"
"""The only entry of a tensor file's header: of several, the file's bytes would vary in order."""


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, in hexadecimal; the order of keys does not matter."""
    return json_sha256(parts, default=str)


def finished(task: Task, check: Check = "quick") -> Content | None:
    """Return what the record of a finished task holds, or None where the task must be done.

    It is finished where the record is of its key and as it was written, and all files are there
    and as the record says. Of tensors only the header is read: the content is empty.
    """
    if task.record is None or task.key is None:
        return None
    needed = {from_record(file, task.record) for file in task.files}
    if task.record.suffix == TENSORS:
        found = tensors_with_header(task.record, task.key, only=())
        is_whole = found is not None and is_intact(task.record, found[0], check, needed=needed)
        return {} if is_whole else None
    content = read_json(task.record, task.key)
    if content is None or not all(name in content for name in task.kind.holds):
        return None
    needed |= set(content.get(FILES, ()))
    return content if is_intact(task.record, content, check, needed=needed) else None


def read_json(path: Path, key: str) -> dict[str, Any] | None:
    """Return the content of a JSON record; None where none has this fingerprint, or its seal."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    matches = isinstance(content, dict) and content.get(MARK) == key
    return content if matches and is_sealed(content) else None


def keep_json(path: Path, key: str, content: Mapping[str, Any], files: Iterable[Path] = ()) -> None:
    """Write a JSON record with its fingerprint, whole or not at all.

    Args:
        path: path of the record.
        key: fingerprint of the record.
        content: what it holds.
        files: files that belong to it, besides those that the task at work has written so far.
    """
    named = [path.parent / str(name) for name in content.get(FILES, ())]
    contents = contents_of([*named, *files, *written_so_far()], path)
    write_json(path, sealed({MARK: key, **content, CONTENTS: contents}))


def read_tensors(
    path: Path, key: str, *, only: Collection[str] | None = None
) -> dict[str, Tensor] | None:
    """Return the tensors of a record, or None where none has this fingerprint.

    Args:
        path: path of the record.
        key: fingerprint of the record.
        only: names of the tensors to read; None for all.
    """
    found = tensors_with_header(path, key, only=only)
    return None if found is None else found[1]


def kept_tensors(path: Path, key: str, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
    """Return the tensors that an earlier task has kept; see `read_tensors`.

    Raises:
        OutputError: they are gone.
    """
    return _kept(path, key, only)[1]


def kept_facts(path: Path, key: str) -> dict[str, Any]:
    """Return the plain values that an earlier task has kept beside its tensors.

    Raises:
        OutputError: they are gone.
    """
    facts: dict[str, Any] = _kept(path, key, ())[0][FACTS]
    return facts


def _kept(
    path: Path, key: str, only: Collection[str] | None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    found = tensors_with_header(path, key, only=only)
    if found is None:
        raise OutputError(
            f"{path}: cannot be read, though it was written before",
            hint="was it removed or changed meanwhile? run again: finished work is kept",
        )
    return found


def name_of_tensor(*parts: str | int) -> str:
    """Return the name of a tensor in a record: no two rows of words and numbers have the same.

    Names of layers, targets and concepts are not ours: whatever stands between them, they may hold.
    """
    return json.dumps(parts)


def keep_tensors(
    path: Path,
    key: str,
    tensors: Mapping[str, Tensor],
    files: Iterable[Path] = (),
    *,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write a record of tensors with its fingerprint, whole or not at all; see `keep_json`.

    Args:
        path: path of the record.
        key: fingerprint of the record.
        tensors: by name; see `name_of_tensor`.
        files: files that belong to it, no others: what a task keeps to go on with may go.
        facts: plain values that its header holds beside them.
    """
    header = {FACTS: dict(facts or {}), MARK: key, CONTENTS: contents_of(files, path)}
    with atomic_path(path) as temporary:
        save_with_header(temporary, header, on_host(tensors))


def on_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as they can be written."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def save_with_header(path: Path, header: Mapping[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors on the host, and plain values before them, to a file that nobody reads yet."""
    save_file(tensors, path, metadata={RECORD: json.dumps(header)})


def header_of_tensors(entries: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what the header of a tensor file says as a record; nothing where it is none."""
    header = parse_json((entries or {}).get(RECORD, "{}"))
    return header if isinstance(header, dict) else {}


def tensors_with_header(
    path: Path, key: str, *, only: Collection[str] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Return what the header of a tensor file says, and its tensors; see `read_tensors`."""
    try:
        with safe_open(path, framework="pt") as file:
            header = header_of_tensors(file.metadata())
            if header.get(MARK) != key:
                return None
            names = [name for name in file.keys() if only is None or name in only]  # noqa: SIM118
            return header, {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, SafetensorError):
        return None
