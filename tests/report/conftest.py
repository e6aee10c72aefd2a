"""Shared by the tests of reports: figures as they were when they were written."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that the test saves, in this order."""
    found: list[Figure] = []
    save = Figure.savefig

    def kept(self: Figure, *args: object, **more: object) -> None:
        found.append(self)
        save(self, *args, **more)

    monkeypatch.setattr(Figure, "savefig", kept)
    return found


@pytest.fixture
def unsaved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that the test would save, for tests that only ask what is in it."""
    found: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **more: found.append(self))
    return found
