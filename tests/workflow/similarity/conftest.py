"""Comparisons without pictures and of few draws; tests of these undo that."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draw_heats", "draw_curves", "draw_scatters"):
        place = f"esegeta.workflow.similarity.pictures.{name}"
        monkeypatch.setattr(place, lambda path, *rest: path.touch())
    monkeypatch.setattr("esegeta.workflow.similarity.estimates.DRAWS", 5)
    monkeypatch.setattr("esegeta.workflow.similarity.estimates.FEWER_DRAWS", 3)
    torch.set_num_threads(1)
