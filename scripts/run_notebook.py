#!/usr/bin/env python3
"""Run a notebook's cells in this process, in order, and write what they show into it.

    python scripts/run_notebook.py docs/tutorial.ipynb

A cell is Python, whose last expression is shown, or lines that begin with `!`, for the shell. What
is shown is text, or a PNG where the value has one; widgets are shown by a word, for they live.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

MOST_LETTERS = 2000
"""Of a cell's text."""

NUM_COLOURS = 128
"""Of a picture in a notebook."""

Shown = dict[str, Any]


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook as plain values."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def run_cells(notebook: Mapping[str, Any], space: dict[str, Any]) -> Iterator[list[Shown]]:
    """Run the code cells one after the other, and yield what each shows.

    Args:
        notebook: its cells.
        space: the names that cells share.

    Raises:
        RuntimeError: a line for the shell failed.
    """
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] != "code":
            continue
        source = "".join(cell["source"])
        with contextlib.redirect_stdout(io.StringIO()) as said:
            value = _run(source, number, space)
        yield [*_stream(said.getvalue()), *_result(value, number)]


def _run(source: str, number: int, space: dict[str, Any]) -> object:
    """Run a cell; return the value of its last expression, or None where it ends otherwise."""
    if source.startswith("!"):
        _run_in_shell(source)
        return None
    name = f"cell {number}"
    tree = ast.parse(source, name)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr):
        exec(compile(tree, name, "exec"), space)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space)


def _run_in_shell(source: str) -> None:
    """Run lines for the shell, which finds the programs of this Python's environment first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = "\n".join(line.removeprefix("!") for line in source.splitlines())
    done = subprocess.run(
        ["bash", "-euc", command], env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    print(done.stdout, end="")


def _stream(text: str) -> list[Shown]:
    if not text:
        return []
    return [{"output_type": "stream", "name": "stdout", "text": _lines(text[:MOST_LETTERS])}]


def _result(value: object, number: int) -> list[Shown]:
    if value is None:
        return []
    data: dict[str, Any] = {"text/plain": [_words(value)]}
    draw = getattr(value, "_repr_png_", None)
    if draw is not None:
        data["image/png"] = base64.b64encode(_small(draw())).decode()
    return [
        {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}
    ]


def _small(png: bytes) -> bytes:
    """Return a PNG of few colours."""
    found = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    few = picture.quantize(NUM_COLOURS, Image.Quantize.MAXCOVERAGE, 2, dither=Image.Dither.NONE)
    few.save(found, "PNG", optimize=True)
    return found.getvalue()


def _words(value: object) -> str:
    if hasattr(value, "comm"):  # a widget, whose own words hold the volumes
        return f"<{type(value).__name__}, to be seen in a running notebook>"
    return repr(value)[:MOST_LETTERS]


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main(path: Path) -> None:
    """Run a notebook and write what it shows into it."""
    notebook = read_notebook(path)
    shown = run_cells(notebook, {"__name__": "__main__"})
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = next(shown), number
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
