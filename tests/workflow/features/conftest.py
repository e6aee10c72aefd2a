"""Runs without figures; tests of figures undo that."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draw_columns", "draw_dream", "save_planes"):
        where = f"esegeta.workflow.features.draw.{name}"
        monkeypatch.setattr(where, lambda path, *rest: path.touch())
    for where in ("acts.draw_units", "weigh.draw_filters"):
        monkeypatch.setattr(f"esegeta.workflow.inside.{where}", lambda path, *rest: path.touch())
    torch.set_num_threads(1)
