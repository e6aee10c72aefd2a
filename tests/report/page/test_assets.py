"""The page's script is joined of parts, all of them, in an order that works."""

from __future__ import annotations

from importlib import resources

from esegeta.report.page.assets import PARTS, REPORT, static_text


def test_the_script_holds_every_part_once_in_one_scope() -> None:
    folder = resources.files("esegeta.report.page") / "script"
    assert {part.name for part in folder.iterdir()} == set(PARTS)
    whole = static_text(REPORT)
    places = [whole.index((folder / part).read_text(encoding="utf-8")) for part in PARTS]
    assert places == sorted(places)
    assert whole.startswith("// ")
    assert whole.count('"use strict";') == 1
    assert whole.rstrip().endswith("begin();\n})();")


def test_parts_are_small() -> None:
    folder = resources.files("esegeta.report.page") / "script"
    lines = {part: (folder / part).read_text(encoding="utf-8").count("\n") for part in PARTS}
    assert max(lines.values()) < 200, lines
