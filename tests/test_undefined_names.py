"""Undefined names are found wherever they stand, and axes of arrays are not taken for names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "undefined_names.py"
HEAD = """\
from __future__ import annotations
from jaxtyping import Float, Shaped as Any_
from torch import Tensor
"""

PLANTED = {
    "nowhere(1)": "4 nowhere",
    "def f():\n    if f:\n        return nowhere.inner": "6 nowhere",
    "def f(x: Nowhere): ...": "4 Nowhere",
    'def f(x: "Nowhere"): ...': "4 Nowhere",
    'def f(x: list["C"]): ...': "4 C",
    'def f(x: Float[Tenser, "C *S"]): ...': "4 Tenser",
    'def f(é: Float[Tensor, "C *S"], x: S): ...': "4 S",
    'def f(é: Float[Tensor, "C *S"], *, y: "S"): ...': "4 S",
    'x = f"{nowhere}"': "4 nowhere",
    "try: ...\nfinally: del nowhere": "5 nowhere",
    "class A:\n    x: int = nowhere": "5 nowhere",
    'def f(x: list["C D"]): ...': "4 Syntax error in forward annotation",
}
"""A line that follows the head, and where which name is undefined in it."""

AXES = [
    'def f(x: Float[Tensor, "C *S"]) -> Float[Tensor, "L *S"]: ...',
    'def f(x: dict[str, Any_[Tensor, "..."] | Float[Tensor, "rows columns"]]): ...',
    'def f(é: Float[Tensor, " é"], x: Float[Tensor, "é S"]): ...',
    'def f(\n    x: Float[\n        Tensor,\n        "C *S",\n    ],\n): ...',
]


def looked_for(*paths: str, folder: Path = ROOT) -> tuple[int, list[str], str]:
    """Return the exit code, the lines of what was found and what else was said."""
    command = [sys.executable, str(SCRIPT), *paths]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return ran.returncode, sorted(ran.stdout.splitlines()), ran.stderr


def write(folder: Path, sources: Iterable[str]) -> None:
    for place, source in enumerate(sources):
        (folder / f"m{place:02}.py").write_text(f"{HEAD}{source}\n", encoding="utf-8")


@pytest.mark.slow
def test_every_name_of_the_project_is_defined() -> None:
    assert looked_for("esegeta", "benchmarks", "scripts", "tests") == (0, [], "")


def test_planted_names_are_found(tmp_path: Path) -> None:
    write(tmp_path, PLANTED)
    code, lines, _ = looked_for(".", folder=tmp_path)
    found = [line.partition(": ")[0] for line in lines]  # ruff's reason comes behind it
    assert code == 1
    assert found == [f"m{place:02}.py:{where}" for place, where in enumerate(PLANTED.values())]


def test_names_of_axes_are_not_taken_for_undefined(tmp_path: Path) -> None:
    write(tmp_path, AXES)
    assert looked_for(".", folder=tmp_path) == (0, [], "")


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    assert looked_for("gone", folder=tmp_path) == (1, [], "not there: gone\n")
