"""What the files of a result hold, as its sidecar says: their lengths and their SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

CONTENTS = "contents"
"""The key of a sidecar under which they stand, by name."""

Check = Literal["quick", "whole"]
"""`quick` reads only files that were changed after their sidecar was written; `whole` reads all."""


def contents_of(paths: Iterable[Path], **staged: Path) -> dict[str, dict[str, Any]]:
    """Return length and SHA-256 of files by name.

    Args:
        paths: files that are in their place.
        staged: under another name still, by the name that they will have.
    """
    named = {path.name: path for path in paths} | staged
    return {name: _content_of(path) for name, path in named.items()}


def _content_of(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def is_intact(sidecar: Path, content: Mapping[str, Any], check: Check = "quick") -> bool:
    """Tell whether the files beside a sidecar are those that it speaks of.

    A sidecar that tells nothing of its files, as those of other results, is believed.
    """
    told = content.get(CONTENTS, {})
    if not isinstance(told, Mapping):
        return False
    written = sidecar.stat().st_mtime_ns
    for name, one in told.items():
        path = sidecar.parent / Path(str(name)).name
        try:
            status = path.stat()
            is_read = check == "whole" or status.st_mtime_ns > written
            if status.st_size != one["bytes"]:
                return False
            if is_read and _content_of(path)["sha256"] != one["sha256"]:
                return False
        except (OSError, KeyError, TypeError):
            return False
    return True
