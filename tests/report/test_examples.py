"""Figures of examples: what they hold, and that a page of a study shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esegeta.examples import SurrogateData, fit_surrogate
from esegeta.report import LeftOutPanel, Tile, draw_left_out
from esegeta.report.example_tiles import tiles_figure
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


def test_a_tree_is_drawn_with_its_rule_and_counts() -> None:
    values = np.linspace(0, 1, 40)[:, None]
    answers = (values[:, 0] > 0.5).astype(float)
    table = SurrogateData(("volume_ml",), values, answers, np.arange(40) % 2, "presence")
    figure = _tree_figure("title", fit_surrogate(table, "tree", 3))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert "volume_ml\n≤ 0.5 ?\n40 regions" in texts
    assert sum(text.startswith("present") for text in texts) == 1
    assert texts.count("yes") == texts.count("no") == 1


def test_a_comparison_tells_its_correlation(tmp_path: Path) -> None:
    panel = LeftOutPanel(
        "a / liver", "tracin", "given", {"x": 1.0, "y": 2.0}, {"x": 0.0, "y": 1.0}, (2, 1.0, 1.0)
    )
    draw_left_out(tmp_path, "title", [panel])
    assert (tmp_path / "leave_one_out.png").stat().st_size > 1000


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
