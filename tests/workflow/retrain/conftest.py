"""Retrainings without pictures; tests of pictures are in tests/report."""

import pytest

from tests.experiments import quick

__all__ = ["quick"]


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here is quick."""
    monkeypatch.setattr(
        "esegeta.workflow.retrain.record.draw_retraining",
        lambda root, *rest: (root / "retrain.png").touch(),
    )
