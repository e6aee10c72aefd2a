"""No file of Python is longer than what one idea takes: whoever opens it can read it whole."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("esegeta", "benchmarks", "scripts", "tests")
MOST_LINES = 350


def lengths() -> dict[str, int]:
    """Return how many lines each file has, by its path from the root."""
    files = (file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {
        file.relative_to(ROOT).as_posix(): file.read_bytes().count(b"\n") for file in sorted(files)
    }


def test_no_file_exceeds_the_line_limit() -> None:
    found = lengths()
    assert len(found) > 1000
    long = {name: lines for name, lines in found.items() if lines > MOST_LINES}
    assert not long, "split them along their ideas"
