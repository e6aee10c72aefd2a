"""One schema for all who read records: a foreign field is told by name, and never followed."""

import json
from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import RunError
from esegeta.report.shapes import (
    MapTold,
    NotesTold,
    RunTold,
    foreign_in,
    misfit,
    read_told,
    require_told,
)
from esegeta.workflow.spread.own_journal import line_in

CURVE = {"score": "s", "curve": "c", "x_label": "x", "y_label": "y", "x": [0.0, 1.0], "y": [2, 3]}

FOREIGN: list[tuple[Any, dict[str, Any], str]] = [
    (MapTold, {"files": 3}, "files"),
    (MapTold, {"warnings": None}, "warnings"),
    (MapTold, {"warnings": [5]}, "warnings.0"),
    (MapTold, {"curves": [{"score": "s"}]}, "curves.0.curve"),
    (MapTold, {"curves": [{**CURVE, "y": [1.0]}]}, "curves.0"),
    (MapTold, {"curves": [{**CURVE, "ticks": ["a"]}]}, "curves.0"),
    (MapTold, {"scores": 5}, "scores"),
    (MapTold, {"facts": {"seconds": "x"}}, "facts.seconds"),
    (MapTold, {"display": {"position_mm": [1, 2]}}, "display.position_mm"),
    (MapTold, {"grid": []}, "grid"),
    (RunTold, {"units": [{"warnings": 5}]}, "units.0.warnings"),
    (RunTold, {"config": {"data": 5}}, "config.data"),
    (NotesTold, {"files": 5}, "files"),
]


@pytest.mark.parametrize(("shape", "content", "place"), FOREIGN)
def test_an_unexpected_shape_is_named(
    shape: Any, content: dict[str, Any], place: str, tmp_path: Path
) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(content))
    assert str(misfit(content, shape)).startswith(f"`{place}` is not as expected")
    assert read_told(path, shape) is None
    assert f"{path}: skipped: `{place}`" in str(foreign_in(path, shape))
    with pytest.raises(RunError, match=r"record\.json: `") as caught:
        require_told(path, shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", "{", "[" * 5000, '"x"'])
def test_text_that_is_not_a_json_object_is_not_a_record(text: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    assert read_told(path, NotesTold) is None
    assert "cannot be read as JSON" in str(foreign_in(path, NotesTold))
    assert foreign_in(tmp_path / "none.json", NotesTold) is None


def test_keys_added_by_later_versions_are_allowed() -> None:
    assert misfit({"curves": [CURVE, {**CURVE, "ticks": ["a", "b"]}]}, MapTold) is None
    assert misfit({"scores": [], "new": 5, "facts": {"seconds": 1, "new": []}}, MapTold) is None


def test_malformed_lines_of_journals_are_ignored() -> None:
    ended = {"task": "t", "key": None, "status": "done", "seconds": 1, "warnings": []}
    assert line_in(json.dumps({**ended, "content": {}})) is not None
    for started in ("2026-01-01T00:00:00", ""):
        assert line_in(json.dumps({"process": "part 1/2", "started": started}))
    for foreign in (
        {**ended, "content": 5},
        {**ended, "content": {}, "status": "odd"},
        {"begin": 5, "at": 0.0},
        {"process": "p", "started": "x"},
        {"other": 1},
    ):
        assert line_in(json.dumps(foreign)) is None
