"""Programs of batch systems that are not there: what they print, and with which exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ONLY_TESTED = 'for word in "$@"; do [ "$word" = --test-only ] && exit 0; done'
"""The first line of an `sbatch` that takes each job as long as it is only asked."""


def program(
    folder: Path, name: str, lines: Sequence[str], code: int = 0, error: str = "", first: str = ":"
) -> None:
    """Write a program that prints lines; `first` is what its shell does before."""
    said = "\n".join([*lines, ""])
    path = folder / name
    path.write_text(
        f"#!/bin/sh\n{first}\ncat <<'END'\n{said}END\necho '{error}' >&2\nexit {code}\n"
    )
    path.chmod(0o755)
