"""Figures of examples: what they hold, and that a page of a study shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from esegeta.examples import SurrogateData, fit_surrogate
from esegeta.report import InfluencePanel, LeftOutPanel, Tile, draw_influence, draw_left_out
from esegeta.report.example_tiles import tiles_figure
from esegeta.report.influence_figures import MOST_BARS
from esegeta.report.style import BLUE, VERMILION
from esegeta.report.surrogate_figures import _tree_figure
from tests.experiments import esegeta
from tests.workflow.examples.labs import examples_lab, with_influence


def test_a_tile_shows_the_patients_right_on_the_left() -> None:
    picture = np.zeros((4, 3), dtype=np.uint8)
    picture[0, 0] = 255  # at the left of the patient, behind
    mask = picture > 0
    figure = tiles_figure("title", [("prototypes", "#000000", [Tile("a", picture, mask)])])
    axis = figure.axes[0]
    assert axis.get_xlim()[0] > axis.get_xlim()[1]
    assert axis.get_ylim()[0] < axis.get_ylim()[1]
    assert axis.images[0].get_array()[0, 0] == 255  # row 0, column 0: drawn below, on the right
    (outline,) = axis.collections
    corners = outline.get_paths()[0].vertices
    np.testing.assert_allclose(corners.mean(axis=0), [0, 0], atol=0.15)


def test_rows_of_tiles_may_be_short_and_continue_without_a_name() -> None:
    picture = np.zeros((4, 3), dtype=np.uint8)
    whole = Tile("all of it", picture, np.ones_like(picture, dtype=bool))
    lines = [("items", "#000000", [whole, whole]), ("", "#000000", [whole])]
    axes = tiles_figure("title", lines).axes
    assert [axis.get_visible() for axis in axes] == [True, True, True, False]
    assert [axis.get_title(loc="left") for axis in axes[::2]] == ["items", ""]
    assert not axes[0].collections  # no outline of what is all of it
    assert axes[0].get_xlim() == (3.5, -0.5)


def test_leaves_of_a_regression_tree_show_the_dice() -> None:
    values = np.linspace(0, 1, 40)[:, None]
    answers = np.where(values[:, 0] > 0.5, 0.75, 0.25)
    table = SurrogateData(("volume_ml",), values, answers, np.arange(40) % 2, "dice")
    texts = [
        text.get_text()
        for text in _tree_figure("title", fit_surrogate(table, "tree", 3)).axes[0].texts
    ]
    leaves = [text for text in texts if text.startswith("Dice")]
    assert leaves == ["Dice 0.25\n20 regions", "Dice 0.75\n20 regions"]


def test_a_tree_is_drawn_with_its_rule_and_counts() -> None:
    values = np.linspace(0, 1, 40)[:, None]
    answers = (values[:, 0] > 0.5).astype(float)
    table = SurrogateData(("volume_ml",), values, answers, np.arange(40) % 2, "presence")
    figure = _tree_figure("title", fit_surrogate(table, "tree", 3))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "volume_ml\n≤ 0.5 ?\n40 regions" in texts
    assert sum(text.startswith("present") for text in texts) == 1
    assert texts.count("yes") == texts.count("no") == 1


def test_a_leave_one_out_figure_is_drawn(tmp_path: Path) -> None:
    panel = LeftOutPanel(
        "a / liver", "tracin", "given", {"x": 1.0, "y": 2.0}, {"x": 0.0, "y": 1.0}, (2, 1.0, 1.0)
    )
    draw_left_out(tmp_path, "title", [panel])
    assert (tmp_path / "leave_one_out.png").stat().st_size > 1000


def test_examples_that_raise_a_target_stand_above_those_that_lower_it(
    tmp_path: Path, figures: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.report.influence_figures.FINE_DPI", 20)
    many = {f"e{number:02}": number - 10.0 for number in range(2 * MOST_BARS + 4)}
    panels = [InfluencePanel("a / liver", "tracin", {"x": 1.0, "y": -2.0})] * 3
    draw_influence(tmp_path, "title", [*panels, InfluencePanel("b / liver", "tracin", many)])
    assert (tmp_path / "influence.png").is_file()
    few, *_, last = [axis for axis in figures[0].axes if axis.get_visible()]
    assert len(figures[0].axes) == 6  # in rows of three, two of which are hidden
    assert [label.get_text() for label in few.get_yticklabels()] == ["y", "x"]
    assert [bar.get_width() for bar in few.patches] == [-2.0, 1.0]
    colours = [to_hex(bar.get_facecolor()) for bar in few.patches]
    assert colours == [BLUE, VERMILION]
    names = [label.get_text() for label in last.get_yticklabels()]
    assert names == [*list(many)[:MOST_BARS], *list(many)[-MOST_BARS:]]


@pytest.mark.slow
def test_a_report_shows_a_study(tmp_path: Path) -> None:
    lab = with_influence(examples_lab(tmp_path, cases=3))
    lab.keys["examples"]["surrogate"] = {"kind": "linear", "least_fidelity": 0.0}
    assert esegeta("examples", lab.write()).exit_code == 0
    names = {path.name for path in (lab.root / "examples").glob("*.png")}
    assert names >= {
        "influence.png",
        "neighbours_all.png",
        "prototypes_all.png",
        "prototypes_liver.png",
        "self_influence.png",
        "surrogate_liver.png",
    }
    result = esegeta("report", lab.root)
    assert result.exit_code == 0, result.output
    page = (lab.root / "report" / "index.html").read_text(encoding="utf-8")
    for text in ("Examples", "prototypes.csv", "self_influence.csv", "surrogate.csv"):
        assert text in page
