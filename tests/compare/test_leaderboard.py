"""Who stands where, what is best, what is null, and what a random map holds up with."""

import itertools
import math
from pathlib import Path

import pytest

from esegeta.compare import compare_runs, held_up_by_random, nulls_sentence, standings
from esegeta.compare.csv_tables import RANKS, SUMMARY, summary
from esegeta.compare.csv_tables import ranks as records_of_ranks
from esegeta.compare.leaderboard import SCORES_A_TABLE, leaderboard
from esegeta.compare.study import Study
from esegeta.report import Cell, Table, to_latex, to_markdown
from tests.compare.runs import FakeRun, Key

NAMES = ("a", "b", "random_map")


def study_of(
    tmp_path: Path,
    scores: dict[str, dict[str, list[float]]],
    better: dict[str, str] | None = None,
    methods: dict[str, dict[str, object]] | None = None,
) -> Study:
    """Return the study of one run: values by score and method, one a case."""
    values: dict[Key, float] = {
        (f"c{place}", "t", method, score): value
        for score, by_method in scores.items()
        for method, some in by_method.items()
        for place, value in enumerate(some)
    }
    owners = {
        name for name in ("deletion", "infidelity") if any(s.startswith(name) for s in scores)
    }
    known = {name: {} for name in sorted(owners)}
    run = FakeRun(values, better or {}, methods=methods or {}, scores=known)
    return compare_runs([run.write(tmp_path / "run")])


def cell(tables: tuple[Table, ...], title: str, row: str, column: str) -> Cell:
    (table,) = [table for table in tables if table.title == title]
    (cells,) = [cells for cells in table.rows if cells[0].text == row]
    return cells[table.columns.index(column)]


def test_medians_with_their_quartiles_and_the_best_in_bold(tmp_path: Path) -> None:
    found = leaderboard(
        study_of(
            tmp_path,
            {"sensitivity_n": {"a": [1, 2, 3], "b": [2, 2, 9], "random_map": [5, 5, 5]}},
        )
    )
    get = lambda row: cell(found, "Faithfulness", row, "sensitivity_n ↓")  # noqa: E731
    assert get("a") == Cell("2 [1.5, 2.5]", best=True)
    assert get("b") == Cell("2 [2, 5.5]", best=True)
    assert get("random_map") == Cell("5 [5, 5]", null=True)


@pytest.mark.parametrize(("better", "best"), [("higher", "b"), ("lower", "a"), ("none", None)])
def test_the_best_is_that_of_the_scores_direction(
    better: str, best: str | None, tmp_path: Path
) -> None:
    scores = {"sensitivity_n": {"a": [1.0, 1.0], "b": [2.0, 2.0]}}
    found = leaderboard(study_of(tmp_path, scores, {"sensitivity_n": better}))
    arrow = {"higher": "↑", "lower": "↓", "none": "–"}[better]
    bold = {row for row in "ab" if cell(found, "Faithfulness", row, f"sensitivity_n {arrow}").best}
    assert bold == ({best} if best else set())
    assert (found[0].title == "Mean ranks") == (better != "none")


def test_fewer_and_undefined_values_are_marked(tmp_path: Path) -> None:
    scores = {"sensitivity_n": {"a": [1, 2], "b": [3, math.nan], "ig": [math.nan, math.nan]}}
    found = leaderboard(study_of(tmp_path, scores))
    assert cell(found, "Faithfulness", "b", "sensitivity_n ↓").text == "3, n=1"
    assert cell(found, "Faithfulness", "ig", "sensitivity_n ↓").text == "undefined"


def test_each_family_counts_once_for_any_number_of_scores(tmp_path: Path) -> None:
    """a is first on three scores of one family, b on the one of another."""
    wins = {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    losses = {"a": [2.0, 2.0], "b": [1.0, 1.0]}
    faithful = dict.fromkeys(("sensitivity_n", "infidelity_beta", "road"), wins)
    study = study_of(tmp_path, {**faithful, "sensitivity_max": losses})
    found = {one.competitor.method: one for one in standings(study)}
    assert found["a"].by_family == {"faithfulness": 1.0, "robustness": 2.0}
    assert found["a"].overall == found["b"].overall == 1.5
    table = leaderboard(study)[0]
    assert table.columns == ("method", "faithfulness", "robustness", "all")
    assert all(cells[3] == Cell("1.50", best=True) for cells in table.rows)


def test_a_column_shows_on_how_many_scores_a_competitor_is_ranked(tmp_path: Path) -> None:
    nan = math.nan
    full = {"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0], "ig": [3.0, 3.0, 3.0]}
    gaps = {**full, "ig": [3.0, nan, nan]}
    table = leaderboard(study_of(tmp_path, {"sensitivity_n": full, "infidelity_beta": gaps}))[0]
    assert table.columns == ("method", "faithfulness", "ranked on")
    assert [[one.text for one in cells] for cells in table.rows] == [
        ["a", "1.00", "2 of 2"],
        ["b", "2.00", "2 of 2"],
        ["ig", "3.00", "1 of 2"],
    ]


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_methods_no_better_than_the_random_map_have_a_dagger(better: str, tmp_path: Path) -> None:
    """b beats it in two cases of five, and on average; in the median over cases it does not."""
    turn = 1 if better == "lower" else -1
    values = {"a": [1, 1, 9, 1, 1], "b": [-50, -50, 6, 6, 6], "random_map": [5, 5, 5, 5, 5]}
    scores = {"sensitivity_n": {name: [turn * x for x in some] for name, some in values.items()}}
    study = study_of(tmp_path, scores, {"sensitivity_n": better})
    assert {(kind.name, one.method) for kind, one in held_up_by_random(study)} == {
        ("sensitivity_n", "b")
    }
    tables = leaderboard(study)
    daggers = {cells[0].text: cells[0].dagger for cells in tables[0].rows}
    assert daggers == {"a": False, "b": True, "random_map": False}
    assert [cells[-1].text for cells in tables[0].rows if cells[0].text in "ab"] == ["", "1"]
    assert tables[0].columns[-1] == "† on"
    arrow = "↓" if better == "lower" else "↑"
    assert cell(tables, "Faithfulness", "b", f"sensitivity_n {arrow}").dagger
    assert "†" in tables[0].note


def test_equal_to_the_random_map_is_not_better(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"sensitivity_n": {"a": [2.0, 3.0], "random_map": [2.0, 3.0]}})
    assert {one.method for _, one in held_up_by_random(study)} == {"a"}


def test_daggers_are_for_faithfulness_alone_and_within_a_model(tmp_path: Path) -> None:
    values: dict[Key, float] = {
        ("c", "t", method, "sensitivity_max"): value
        for method, value in (("a", 9.0), ("random_map", 1.0))
    }
    one = FakeRun(values, name="one", weights="1").write(tmp_path / "one")
    faithful: dict[Key, float] = {("c", "t", "a", "sensitivity_n"): 9.0}
    other = FakeRun(faithful, name="other", weights="2").write(tmp_path / "other")
    null: dict[Key, float] = {("c", "t", "random_map", "sensitivity_n"): 1.0}
    third = FakeRun(null, name="third", weights="3").write(tmp_path / "third")
    assert held_up_by_random(compare_runs([one, other, third])) == set()


def test_no_method_is_marked_without_a_random_map(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"sensitivity_n": {"a": [9.0], "b": [1.0]}})
    assert held_up_by_random(study) == set()
    assert "†" not in "".join(table.note for table in leaderboard(study))
    assert "There is no null competitor" in nulls_sentence(study)


def test_null_competitors_are_recognised_by_name_not_by_id(tmp_path: Path) -> None:
    methods = {"noise": {"name": "random_map"}, "random_map": {"name": "saliency"}}
    scores = {"sensitivity_n": {"noise": [1.0], "random_map": [2.0], "edge_map": [3.0]}}
    study = study_of(tmp_path, scores, methods=methods)
    nulls = {one.method: one.null for one in study.merged.competitors}
    assert nulls == {"noise": "random_map", "random_map": "", "edge_map": "edge_map"}
    assert nulls_sentence(study) == "Null competitors, in italics: noise, edge_map."
    assert {one.method for _, one in held_up_by_random(study)} == {"random_map", "edge_map"}


def test_a_model_without_null_competitors_is_named(tmp_path: Path) -> None:
    runs = [
        FakeRun({("c", "t", method, "sensitivity_n"): 1.0}, name=name, weights=name).write(
            tmp_path / name
        )
        for name, method in (("one", "random_map"), ("two", "a"))
    ]
    assert "two has none" in nulls_sentence(compare_runs(runs))


def test_many_scores_are_spread_over_narrow_tables(tmp_path: Path) -> None:
    scores = {f"new_{place}": {"a": [1.0], "b": [2.0]} for place in range(SCORES_A_TABLE + 1)}
    tables = leaderboard(study_of(tmp_path, scores))
    assert [table.title for table in tables] == ["Mean ranks", "Other (1 of 2)", "Other (2 of 2)"]
    heads = list(itertools.chain(*(table.columns[1:] for table in tables[1:])))
    assert heads == [f"{name} ↓" for name in scores]


def test_one_competitor_has_values_and_no_ranks(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"sensitivity_n": {"a": [1.0, 3.0]}})
    (table,) = leaderboard(study)
    assert table.rows == ((Cell("a"), Cell("2 [1.5, 2.5]")),)


def test_each_aspect_counts_once(tmp_path: Path) -> None:
    """a leads on three figures of deletion, b on the two of infidelity that are ranked."""
    wins, losses = {"a": [1.0, 1.0], "b": [2.0, 2.0]}, {"a": [2.0, 2.0], "b": [1.0, 1.0]}
    scores = {
        **dict.fromkeys(("deletion", "deletion_lerf", "deletion_gap"), wins),
        **dict.fromkeys(("infidelity_beta", "infidelity_relative"), losses),
    }
    found = {one.competitor.method: one for one in standings(study_of(tmp_path, scores))}
    assert found["a"].by_family == found["b"].by_family == {"faithfulness": 1.5}
    assert found["a"].num_scores == 5


def test_two_settings_of_one_score_are_one_aspect(tmp_path: Path) -> None:
    values = {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    turned = {"a": [2.0, 2.0], "b": [1.0, 1.0]}
    scores = {"deletion": values, "blurred.deletion": values, "sensitivity_n": turned}
    settings = {"deletion": {}, "blurred": {"name": "deletion"}, "sensitivity_n": {}}
    rows: dict[Key, float] = {
        (f"c{place}", "t", method, score): value
        for score, by_method in scores.items()
        for method, some in by_method.items()
        for place, value in enumerate(some)
    }
    study = compare_runs([FakeRun(rows, scores=settings).write(tmp_path / "run")])
    assert [one.by_family for one in standings(study)] == [{"faithfulness": 1.5}] * 2


def test_scores_that_depend_on_the_scale_of_a_map_are_neither_ranked_nor_tested(
    tmp_path: Path,
) -> None:
    """A map times 100 has 10,060 times the infidelity, and is the same map."""
    scores = {
        "infidelity": {"a": [1.0] * 8, "times_100": [10_060.0] * 8, "random_map": [3.0] * 8},
        "infidelity_relative": {"a": [0.1] * 8, "times_100": [0.1] * 8, "random_map": [0.9] * 8},
    }
    study = study_of(tmp_path, scores)
    raw, relative = study.scores
    assert "depends on the scale" in raw.ranking.refusal
    assert raw.pairs == () and raw.mean_ranks == {}
    found = leaderboard(study)
    assert cell(found, "Faithfulness", "times_100", "infidelity ↓") == Cell("10100 [10100, 10100]")
    assert not cell(found, "Faithfulness", "a", "infidelity ↓").best
    assert "Never ranked, because it depends on the map's scale: infidelity." in found[1].note
    assert sorted(relative.mean_ranks.values()) == [1.5, 1.5, 3.0]


def test_a_leaderboard_of_one_case_has_a_note_and_no_bold_values(tmp_path: Path) -> None:
    scores = {"sensitivity_n": {"a": [1.0], "b": [2.0]}, "road": {"a": [1.0], "b": [1.0]}}
    study = study_of(tmp_path, scores)
    ranks, values = leaderboard(study)
    assert [[one.text for one in cells] for cells in ranks.rows] == [["a", "1.2"], ["b", "1.8"]]
    for table in (ranks, values):
        assert not any(one.best for cells in table.rows for one in cells)
        assert "n = 1" in to_markdown(table)
        assert "n = 1" in to_latex(table, label="x")
        assert "Bold" not in table.note
    assert {record[SUMMARY.index("n_cases")] for record in summary(study)} == {1}
    assert {record[RANKS.index("n_cases")] for record in records_of_ranks(study)} == {1}
