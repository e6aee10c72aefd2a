"""Write docs/api.md: every public name by topic; docstrings fill it when docs are built."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"

TOPICS = {
    "api": "Models, commands and what they return",
    "workflow": "How commands go about their tasks",
    "volume": "Images",
    "targets": "Targets and regions",
    "explain": "Methods, maps and what methods are made of",
    "score": "Scores",
    "errors": "Errors",
}
"""Rooms in the order of the page, and what their names are about."""

HEAD = """\
# Python names

All that `import esegeta` gives, as its docstrings have it. What is not listed here is the
package's own affair and may change. [python.md](python.md) shows how they go together.
"""


def names_by_room() -> dict[str, list[str]]:
    """Return the public names by the room that they come from, out of the package's stub."""
    stub = (ROOT / "esegeta" / "__init__.pyi").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for room, name in re.findall(r"^from \.(\w+) import (\w+) as \w+$", stub, flags=re.MULTILINE):
        found.setdefault(room, []).append(name)
    return found


def page() -> str:
    """Return the page.

    Raises:
        KeyError: a room has no topic yet.
    """
    found = names_by_room()
    parts = [HEAD]
    for room in sorted(found, key=list(TOPICS).index):
        parts.append(f"\n## {TOPICS[room]}\n")
        parts += [f"\n::: esegeta.{room}.{name}\n" for name in found[room]]
    return "".join(parts)


if __name__ == "__main__":
    if "--check" in sys.argv:
        if PAGE.read_text(encoding="utf-8") != page():
            sys.exit("docs/api.md is not of these names: python scripts/api_page.py")
    else:
        PAGE.write_text(page(), encoding="utf-8")
