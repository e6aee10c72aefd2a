"""What the files of a result hold, as its record says: their lengths and their SHA-256.

The record itself bears a seal: a field that was changed since it was written, whatever it holds
now, is found before anything reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from esegeta.plain_json import json_sha256
from esegeta.volume import plain_values

CONTENTS = "contents"
"""The key of a record under which they stand, by their path from the record's folder."""

Check = Literal["quick", "whole"]
"""`quick` reads only files that were changed after their record was written; `whole` reads all."""


SEAL = "seal"
"""The key of a record under which the SHA-256 of all its other keys stands."""


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a record as plain values, with its seal."""
    plain: dict[str, Any] = plain_values(content)
    return {**plain, SEAL: _seal_of(plain)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Tell whether a record holds what it was sealed with."""
    try:
        return content.get(SEAL) == _seal_of(content)
    except RecursionError:  # brackets within brackets
        return False


def _seal_of(content: Mapping[str, Any]) -> str:
    others = {key: value for key, value in content.items() if key != SEAL}
    return json_sha256(others)


def contents_of(paths: Iterable[Path], record: Path, **staged: Path) -> dict[str, dict[str, Any]]:
    """Return length and SHA-256 of files by name.

    Args:
        paths: files that are in their place.
        record: where it will stand; files are named as they are found from its folder.
        staged: under another name still, by the name that they will have.
    """
    named = {from_record(path, record): path for path in paths if path != record}
    return {name: content_of(path) for name, path in (named | staged).items()}


def from_record(path: Path, record: Path) -> str:
    """Return how a file is named by a record."""
    return os.path.relpath(path, record.parent).replace(os.sep, "/")


def content_of(path: Path) -> dict[str, Any]:
    """Return length and SHA-256 of a file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def is_intact(
    record: Path,
    content: Mapping[str, Any],
    check: Check = "quick",
    *,
    needed: Iterable[str] = (),
) -> bool:
    """Tell whether the files of a record are those that it speaks of.

    Args:
        record: path of the record.
        content: what it holds; a record that tells nothing of its files is not believed.
        check: which files are read.
        needed: names of files of which it must speak.
    """
    told = content.get(CONTENTS)
    if not isinstance(told, Mapping) or not set(needed) <= set(told):
        return False
    written = record.stat().st_mtime_ns
    for name, one in told.items():
        path = record.parent / str(name)
        try:
            status = path.stat()
            is_read = check == "whole" or status.st_mtime_ns > written
            if status.st_size != one["bytes"]:
                return False
            if is_read and content_of(path)["sha256"] != one["sha256"]:
                return False
        except (OSError, KeyError, TypeError):
            return False
    return True
