"""Runs without pictures; tests of pictures undo that."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which cost more than all the rest."""
    names = ("pictures.draw_unit", "pictures.draw_concepts", "ablate.draw_effects")
    for name in (*names, "trail_files.draw_trails"):
        monkeypatch.setattr(f"esegeta.workflow.dissect.{name}", lambda path, *rest: path.touch())
    torch.set_num_threads(1)
