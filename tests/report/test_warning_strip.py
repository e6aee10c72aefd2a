"""A picture whose warnings are changed is the picture that is drawn with the new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from esegeta.report import draw_overlay, replace_strip
from esegeta.report.warning_strip import MOST_WARNINGS, strip_text
from tests.report.maps import flat_map

OTHER = ("not complete: 7 %", "a second warning " * 12)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((), OTHER), (OTHER, ()), (OTHER, OTHER[:1])])
def test_replacing_the_strip_changes_nothing_else(
    before: tuple[str, ...], after: tuple[str, ...], tmp_path: Path
) -> None:
    path, expected = tmp_path / "a.png", tmp_path / "b.png"
    draw_overlay(path, flat_map(), "title", before)
    draw_overlay(expected, flat_map(), "title", after)
    replace_strip(path, before, after)
    found, drawn = imread(path)[..., :3], imread(expected)[..., :3]
    assert abs(found.shape[0] - drawn.shape[0]) <= 1 and found.shape[1] == drawn.shape[1]
    rows = min(found.shape[0], drawn.shape[0])
    differ = np.abs(found[:rows] - drawn[:rows]).max(axis=2) > 0.3
    # Lines of text may lie a pixel's part higher or lower, what is above them may not differ.
    assert differ.mean() < 0.02
    assert (found != found[-1, -1]).any() and list(tmp_path.iterdir()).__len__() == 2


def test_a_missing_picture_is_not_created(tmp_path: Path) -> None:
    replace_strip(tmp_path / "a.png", (), OTHER)
    assert not list(tmp_path.iterdir())


def test_a_strip_counts_warnings_beyond_the_limit() -> None:
    text = strip_text([f"warning {number}" for number in range(MOST_WARNINGS + 2)], 10.0)
    assert text.count("⚠") == MOST_WARNINGS + 1 and "and 2 more" in text
    assert strip_text(["twice", "twice"], 10.0) == "⚠ twice"
