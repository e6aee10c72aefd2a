"""The tutorial runs from its first cell to its last, and shows what it says."""

from __future__ import annotations

import base64
import importlib.util
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from tests.torso import lay_out

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    path = ROOT / "scripts" / "run_notebook.py"
    spec = importlib.util.spec_from_file_location("run_notebook", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def cells() -> list[dict[str, Any]]:
    return list(json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])


def test_the_tutorial_is_short_and_its_outputs_are_small() -> None:
    assert len(cells()) == 15
    assert NOTEBOOK.stat().st_size < 150_000
    text = "".join(line for cell in cells() for line in cell["source"])
    assert "attribution.plot()" in text and "attribution.view()" in text
    faults = [out for cell in cells() for out in cell.get("outputs", ()) if "ename" in out]
    assert not faults


def test_cells_share_names_and_show_their_last_value(runner: ModuleType) -> None:
    sources = ["a = 2\nprint('said')", "b = a + 1\nb", "!echo from the shell"]
    notebook = {"cells": [{"cell_type": "code", "source": [source]} for source in sources]}
    first, second, third = runner.run_cells(notebook, {})
    assert first[0]["text"] == ["said\n"] and len(first) == 1
    assert second[0]["data"] == {"text/plain": ["3"]}
    assert third[0]["text"] == ["from the shell\n"]
    notebook["cells"][2]["source"] = ["!echo no >&2; exit 3"]
    with pytest.raises(RuntimeError, match="exit code 3\nno"):
        list(runner.run_cells(notebook, {}))


@pytest.mark.slow
def test_every_cell_of_the_tutorial_runs(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ipyniivue", reason="the extra `notebook` is not installed")
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = list(runner.run_cells(runner.read_notebook(NOTEBOOK), {"__name__": "tutorial"}))
    assert len(shown) == sum(cell["cell_type"] == "code" for cell in cells())
    (picture,) = [out for outs in shown for out in outs if "image/png" in out.get("data", {})]
    png = base64.b64decode(picture["data"]["image/png"])
    assert Image.open(io.BytesIO(png)).width > 600
    assert (tmp_path / "results/tutorial_spleen.nii.gz").is_file()
    assert (tmp_path / "results/tutorial/report/index.html").is_file()
