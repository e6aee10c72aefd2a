"""What is kept between runs: records of JSON or tensors, each with its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from esegeta.plain_json import parse_json
from esegeta.report.contents import Check, is_intact
from esegeta.volume import atomic_path, write_json
from esegeta.workflow.task import Content, Task

MARK = "fingerprint"
"""The key under which a record holds its fingerprint."""
FILES = "files"
"""The key under which a JSON record names the files that belong to it, beside it."""
TENSORS = ".safetensors"


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, in hexadecimal; the order of keys does not matter."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def finished(task: Task, check: Check = "quick") -> Content | None:
    """Return what the record of a finished task holds, or None where the task must be done.

    It is finished where the record is of its key and all files are there, and are as the record
    says. Of tensors nothing is read but the key: the content is empty.
    """
    if task.record is None or task.key is None:
        return None
    if not all(file.is_file() for file in task.files):
        return None
    if task.record.suffix == TENSORS:
        return {} if _key_of_tensors(task.record) == task.key else None
    content = read_json(task.record, task.key)
    if content is None or not all(name in content for name in task.kind.holds):
        return None
    there = all((task.record.parent / str(name)).is_file() for name in content.get(FILES, ()))
    return content if there and is_intact(task.record, content, check) else None


def read_json(path: Path, key: str) -> dict[str, Any] | None:
    """Return the content of a JSON record, or None where none has this fingerprint."""
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    matches = isinstance(content, dict) and content.get(MARK) == key
    return content if matches else None


def keep_json(path: Path, key: str, content: Mapping[str, Any]) -> None:
    """Write a JSON record with its fingerprint, whole or not at all."""
    write_json(path, {MARK: key, **content})


def read_tensors(
    path: Path, key: str, *, only: Collection[str] | None = None
) -> dict[str, Tensor] | None:
    """Return the tensors of a record, or None where none has this fingerprint.

    Args:
        path: path of the record.
        key: fingerprint of the record.
        only: names of the tensors to read; None for all.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get(MARK) != key:
                return None
            names = [name for name in file.keys() if only is None or name in only]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError):
        return None


def keep_tensors(path: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    """Write a record of tensors with its fingerprint, whole or not at all."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary, metadata={MARK: key})


def _key_of_tensors(path: Path) -> str | None:
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get(MARK)
    except (OSError, SafetensorError):
        return None
