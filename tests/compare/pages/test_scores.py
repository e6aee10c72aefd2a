"""The score table: who is best, who is null, and where a random map does as well."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from esegeta.compare.pages import write_report
from esegeta.compare.pages.runs import read_runs
from esegeta.compare.pages.score_lines import score_heads, score_lines
from esegeta.report.page import ScoreLine
from tests.compare.pages.page import Page
from tests.compare.pages.results import FakeResults

METHODS = {"good": "saliency", "bad": "hires_cam", "noise": "random_map"}


def lines_of(folder: Path, better: str = "lower", **scores: float) -> dict[str, ScoreLine]:
    values = {
        ("torso", "liver", method, name.replace("__", ".")): value
        for method, given in scores.items()
        for name, value in given.items()  # type: ignore[attr-defined]
    }
    names = {key[3] for key in values}
    results = FakeResults(methods=METHODS, scores=values, better=dict.fromkeys(names, better))
    (run,) = read_runs([results.write(folder)])
    return {line.method: line for line in score_lines(run, score_heads([run]))}


@pytest.mark.parametrize(
    ("better", "good", "bad", "noise"), [("lower", 0.1, 0.5, 0.3), ("higher", 0.5, 0.1, 0.3)]
)
def test_values_no_better_than_a_random_map_have_a_dagger(
    tmp_path: Path, better: str, good: float, bad: float, noise: float
) -> None:
    given = {"good": good, "bad": bad, "noise": noise}
    lines = lines_of(tmp_path, better, **{key: {"deletion": v} for key, v in given.items()})
    assert {name: line.cells[0].dagger for name, line in lines.items()} == {
        "good": False,
        "bad": True,
        "noise": False,
    }
    assert {name: line.cells[0].best for name, line in lines.items()} == {
        "good": True,
        "bad": False,
        "noise": False,
    }
    assert [line.null for line in lines.values()] == [False, False, True]


def test_a_tie_with_noise_is_not_better_than_noise(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, good={"deletion": 0.3}, noise={"deletion": 0.3})
    assert lines["good"].cells[0].dagger


def test_scores_of_other_families_have_no_dagger(tmp_path: Path) -> None:
    lines = lines_of(tmp_path, good={"sensitivity_max": 0.9}, noise={"sensitivity_max": 0.1})
    assert not lines["good"].cells[0].dagger


def test_a_p_value_above_0_05_has_a_dagger(tmp_path: Path) -> None:
    lines = lines_of(
        tmp_path, good={"random_map_baseline": 0.05}, bad={"random_map_baseline": 0.06}
    )
    assert [line.cells[0].dagger for line in lines.values()] == [False, True, False]


def test_an_undefined_value_is_last_and_says_why(tmp_path: Path) -> None:
    key = ("torso", "liver", "good", "deletion")
    results = FakeResults(
        methods={"good": "saliency", "bad": "hires_cam"},
        scores={key: math.nan, (*key[:2], "bad", "deletion"): 0.5},
        sidecar={"score_reasons": {"deletion": "the target is empty"}},
    )
    page = Page(write_report([results.write(tmp_path)], tmp_path / "out"))
    (cell,) = page.find("td", title="the target is empty")
    assert (cell.text, cell.attributes["data-value"]) == ("–", "")


def test_a_failed_task_has_a_row(tmp_path: Path) -> None:
    results = FakeResults(
        methods=METHODS,
        scores={("torso", "liver", "good", "deletion"): 0.5},
        failed={("torso", "liver", "bad"): "out of memory"},
    )
    page = Page(write_report([results.write(tmp_path)], tmp_path / "out"))
    (cell,) = page.find("td", title="out of memory")
    assert cell.text == "failed"
