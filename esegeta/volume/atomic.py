"""Files appear whole or not at all: written beside their place, then moved into it."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from esegeta.errors import OutputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces `path`.

    The temporary name keeps the suffix (writers choose the format by it) and starts with a
    dot, so that no glob for results finds a half-written file.

    Raises:
        OutputError: the folder cannot be written, or the path is a folder itself.
    """
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".tmp-", suffix=suffix, dir=path.parent)
    except OSError as error:
        raise _refusal(path.parent, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; results are as readable as any other file of the user.
        temporary.chmod(0o666 & ~_umask())
        try:
            temporary.replace(path)
        except OSError as error:
            raise _refusal(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; NaN and Inf become null, for JSON has neither."""
    write_text(path, json.dumps(_plain(content), indent=2, ensure_ascii=False) + "\n")


def _refusal(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{path}: cannot write here ({error.strerror or error})",
        hint="choose another folder with `output:` or -o, or change its permissions",
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
