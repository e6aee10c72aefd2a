#!/usr/bin/env python3
"""Find names that nothing defines: `file:line name`, one a line; exit code 1 where there are any.

    python scripts/undefined_names.py esegeta benchmarks scripts tests

Ruff and mypy take the axes in `Float[Tensor, "C *S"]` for names of types, so their own rules about
undefined names are switched off. Here ruff's are switched on, and only what it says about the axes
is left out.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RULES = "F821,F722"
"""Undefined names, and annotations in quotes that are no Python, in which none can be looked up."""

Place = tuple[int, int]
"""A line and a character in it, both counted from one."""


def main(arguments: list[str]) -> int:
    """Print the undefined names in folders and files; return the exit code."""
    found = undefined(arguments)
    for line in found:
        print(line)
    return 1 if found else 0


def undefined(paths: list[str]) -> list[str]:
    """Return where names are undefined that name no axes, as `file:line name`."""
    axes: dict[str, list[tuple[Place, Place]]] = {}
    lines = []
    for hit in reported(paths):
        path, place = Path(hit["filename"]), hit["location"]
        where = place["row"], place["column"]
        if hit["filename"] not in axes:
            axes[hit["filename"]] = list(axis_strings(path.read_text(encoding="utf-8")))
        if not any(start <= where < end for start, end in axes[hit["filename"]]):
            name = hit["message"].removeprefix("Undefined name ").strip("`")
            lines.append(f"{short(path)}:{where[0]} {name}")
    return lines


def reported(paths: list[str]) -> list[dict[str, Any]]:
    """Return what ruff says by the rules alone, whatever the project ignores."""
    missing = [path for path in paths if not Path(path).exists()]
    if missing:  # of which ruff would find no fault
        raise SystemExit(f"not there: {', '.join(missing)}")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", RULES]
    command += ["--config", "lint.ignore=[]", "--output-format", "json", "--", *paths]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if ran.returncode > 1:  # 1: it found something
        raise SystemExit(ran.stderr)
    return list(json.loads(ran.stdout))


def axis_strings(source: str) -> Iterator[tuple[Place, Place]]:
    """Yield where each string of axes starts and ends: the last part of a type of jaxtyping's."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # ruff has said so
        return
    types = jaxtyping_types(tree)
    lines = source.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Subscript) or ast.unparse(node.value) not in types:
            continue
        axes = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else None
        if isinstance(axes, ast.Constant) and isinstance(axes.value, str):
            end_line, end_offset = axes.end_lineno or axes.lineno, axes.end_col_offset or 0
            yield (
                (axes.lineno, column(lines[axes.lineno - 1], axes.col_offset)),
                (end_line, column(lines[end_line - 1], end_offset)),
            )


def jaxtyping_types(tree: ast.Module) -> set[str]:
    """Return the names that a module has for what jaxtyping calls Float, Bool and the like."""
    return {
        name.asname or name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "jaxtyping"
        for name in node.names
    }


def column(line: str, offset: int) -> int:
    """Return which character, from one, a byte starts: `ast` counts bytes, ruff characters."""
    return len(line.encode()[:offset].decode()) + 1


def short(path: Path) -> Path:
    """Return a path as seen from this folder, if it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
