"""Studies of examples without pictures; tests of pictures are in tests/report."""

import pytest

from tests.experiments import quick

__all__ = ["quick"]

DRAWN = {
    "select": ("draw_prototypes", "draw_neighbours"),
    "surrogates": ("draw_surrogate",),
}


@pytest.fixture(autouse=True)
def _quick(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here is quick."""
    for module, names in DRAWN.items():
        for name in names:
            place = f"esegeta.workflow.examples.{module}.{name}"
            monkeypatch.setattr(place, lambda path, *rest: path.touch())
    for name in ("draw_influence", "draw_self_influence", "draw_left_out"):
        monkeypatch.setattr(
            f"esegeta.workflow.examples.record.{name}",
            lambda root, *rest, name=name: (root / f"{name}.png").touch(),
        )
