"""Mean ranks and rank correlations: what is drawn is what was given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from esegeta.report import HeatMap, RankDiagram, draw_heat_map, draw_rank_diagram
from esegeta.report.rank_figures import _levels


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axis in figure.axes for text in axis.texts]


DIAGRAM = RankDiagram(
    "title",
    ("a", "b", "c", "random_map", "e"),
    (1.2, 1.9, 3.0, 4.1, 4.8),
    frozenset({"random_map"}),
    1.5,
    ((0, 1), (1, 2), (2, 3), (3, 4)),
)


def test_ranks_lie_on_the_axis_and_bars_join_cliques(tmp_path: Path, figures: list[Figure]) -> None:
    draw_rank_diagram(tmp_path / "x.png", DIAGRAM)
    assert (tmp_path / "x.png").stat().st_size > 5000
    (axis,) = figures[0].axes
    stems = [line for line in axis.lines if len(line.get_xdata()) == 3]
    assert [float(line.get_xdata()[0]) for line in stems] == list(DIAGRAM.mean_ranks)
    bars = [tuple(line.get_xdata()) for line in axis.lines if line.get_linewidth() == 3.5]
    expected = [(DIAGRAM.mean_ranks[i], DIAGRAM.mean_ranks[j]) for i, j in DIAGRAM.cliques]
    assert len(bars) == len(expected)
    for bar, ends in zip(bars, expected, strict=True):
        assert bar == pytest.approx(ends, abs=0.02)
    assert "critical difference 1.5" in texts(figures[0])
    assert {"a   1.20", "b   1.90", "c   3.00", "4.10   random_map", "4.80   e"} <= set(
        texts(figures[0])
    )
    italic = [text.get_text() for text in axis.texts if text.get_style() == "italic"]
    assert italic == ["4.10   random_map"]


def test_bars_that_overlap_do_not_lie_on_one_line() -> None:
    levels = _levels(DIAGRAM)
    for one, (first, last) in zip(levels, DIAGRAM.cliques, strict=True):
        for other, (start, stop) in zip(levels, DIAGRAM.cliques, strict=True):
            overlap = first <= stop and start <= last and (first, last) != (start, stop)
            assert not overlap or one != other
    assert max(levels) == 1


def test_a_critical_difference_longer_than_the_axis_is_noted(
    tmp_path: Path, figures: list[Figure]
) -> None:
    diagram = RankDiagram("t", ("a", "b", "c"), (1.0, 2.0, 3.0), frozenset(), 9.0, ((0, 2),))
    draw_rank_diagram(tmp_path / "x.png", diagram)
    assert "critical difference 9 (longer than the axis)" in texts(figures[0])


def test_the_heat_map_holds_its_numbers(tmp_path: Path, figures: list[Figure]) -> None:
    values = np.array([[1.0, -0.25, np.nan], [0.5, 1.0, 0.0], [np.nan, 0.0, 1.0]])
    draw_heat_map(tmp_path / "x.png", HeatMap("t", ("a", "b", "c"), ("f", "f", "g"), values))
    axis = figures[0].axes[0]
    shown = {tuple(map(int, text.get_position())): text.get_text() for text in axis.texts}
    assert shown == {
        (0, 0): "1.00",
        (1, 0): "-.25",
        (0, 1): ".50",
        (1, 1): "1.00",
        (2, 1): ".00",
        (1, 2): ".00",
        (2, 2): "1.00",
    }
    assert [line.get_ydata()[0] for line in axis.lines if line.get_ydata()[0] == 1.5] == [1.5]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c"]


def test_a_number_close_to_the_last_rank_is_left_out(tmp_path: Path, unsaved: list[Figure]) -> None:
    names = tuple(f"m{place}" for place in range(25))
    ranks = tuple(float(place + 1) for place in range(25))
    draw_rank_diagram(tmp_path / "x.png", RankDiagram("t", names, ranks, frozenset(), 2.0, ()))
    numbers = [int(text) for text in texts(unsaved[0]) if text.isdigit()]
    assert numbers == [1, *range(2, 24, 2), 25]


def test_a_large_heat_map_has_no_numbers(
    tmp_path: Path, unsaved: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.report.rank_figures.MOST_NUMBERED", 2)
    names = ("a", "b", "c")
    draw_heat_map(tmp_path / "x.png", HeatMap("t", names, ("f",) * 3, np.eye(3)))
    axis, bar = unsaved[0].axes
    assert not axis.texts and bar.get_ylabel() == "Spearman's rho"
