"""A type's name stands for one thing in the whole package: whoever reads it asks nobody which."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import esegeta

PACKAGE = Path(esegeta.__file__).parent
CLASS = re.compile(r"^ *class _*(\w+)[(:\[]", re.MULTILINE)
ALIAS = re.compile(r"^_*([A-Z][A-Za-z]*[a-z][A-Za-z]*) = (?!TypeVar|ParamSpec)", re.MULTILINE)
"""A name of a type, which no class gives it; what stands for any type has a place of its own."""


def named_twice(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the names of classes that several places define, with these; `_Fit` is a `Fit`."""
    found = defaultdict(list)
    for place, text in texts.items():
        for name in (*CLASS.findall(text), *ALIAS.findall(text)):
            found[name].append(place)
    return {name: places for name, places in found.items() if len(places) > 1}


def test_class_names_are_unique() -> None:
    texts = {
        str(file.relative_to(PACKAGE)): file.read_text(encoding="utf-8")
        for file in sorted(PACKAGE.rglob("*.py"))
    }
    assert len(CLASS.findall("\n".join(texts.values()))) > 500
    assert named_twice(texts) == {}


def test_duplicate_class_names_are_found() -> None:
    texts = {
        "a.py": "class Fit:\n    class Row(Base):\n",
        "b.py": "class _Fit(Base):\n# class Row\n",
    }
    assert named_twice(texts) == {"Fit": ["a.py", "b.py"]}
    texts = {"a.py": "class Fit:\n", "b.py": "Fit = tuple[int, int]\nT = TypeVar('T')\nBOX = 1\n"}
    assert named_twice(texts) == {"Fit": ["a.py", "b.py"]}
