"""One style for all figures: who sets it, and text that keeps to its room."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from esegeta import report
from esegeta.report.style import (
    comment_of,
    has_comment,
    new_figure,
    panel_grid,
    save_figure,
    wrap,
)

TEXTS = {
    "words": "units by concept of a network that was trained on few images",
    "a name": "dissect_3d_with_a_name_that_is_longer_than_the_figure_is_wide",
    "a layer": "model.1.submodule.1.submodule.1.submodule.0.conv.unit0.conv",
    "no joint": "abcdefghijklm" * 6,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("points", [7, 10])
def test_lines_are_wrapped_at_the_available_width(text: str, points: int) -> None:
    room = 2.2
    wrapped = wrap(text, room, points)
    assert wrapped.count("\n") >= 1
    assert wrapped.replace("\n", "").replace(" ", "") == text.replace(" ", "")
    figure = Figure(figsize=(6, 2))
    canvas = FigureCanvasAgg(figure)
    drawn = figure.text(0.0, 0.0, wrapped, fontsize=points)
    width = drawn.get_window_extent(canvas.get_renderer()).width / figure.dpi
    assert 0.6 * room < width <= room


def test_names_break_at_their_joints_and_numbers_do_not() -> None:
    assert wrap("first_second", 0.7, 8) == "first_\nsecond"
    assert wrap("IoU of 0.13", 0.7, 8) == "IoU of\n0.13"


def test_existing_line_breaks_are_kept() -> None:
    assert wrap("a\n\nb", 5, 8) == "a\n\nb"


def test_only_the_style_makes_and_saves_figures() -> None:
    makers = [
        path.name
        for path in sorted(Path(report.__file__).parent.glob("*.py"))
        if any(word in path.read_text(encoding="utf-8") for word in ("FigureCanvas", ".savefig("))
    ]
    assert makers == ["style.py"]


@pytest.mark.parametrize(
    ("panels", "most", "expected"), [(1, 3, (1, 1)), (3, 3, (1, 3)), (4, 3, (2, 3)), (9, 4, (3, 4))]
)
def test_panels_fill_line_by_line(panels: int, most: int, expected: tuple[int, int]) -> None:
    assert panel_grid(panels, most) == expected


def test_a_picture_is_recognised_by_its_comment_if_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    figure = new_figure((1, 1))
    save_figure(path, figure, comment="of this map")
    content = path.read_bytes()
    assert has_comment(path, "of this map") and comment_of(path) == "of this map"
    assert not has_comment(path, "of another")
    assert not has_comment(tmp_path / "none.png", "of this map")
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    for left in (content[:-20], content[:-4], bytes(damaged), content + b"more"):
        path.write_bytes(left)
        assert comment_of(path) == "of this map"
        assert not has_comment(path, "of this map")
