"""The files of a study: what is in them, what of an earlier one is left, what is refused."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from esegeta.compare import Study, compare_runs, save_study
from esegeta.errors import OutputError
from tests.compare.runs import FakeRun, Key
from tests.temporaries import dead_temporary

METHODS = ("saliency", "ig", "lrp", "random_map")
SCORES = {
    "sensitivity_n": "lower",
    "sensitivity_max": "lower",
    "auroc": "higher",
    "halo_mm": "none",
}


def fake(num_cases: int = 7, num_targets: int = 2, **more: object) -> FakeRun:
    rng = np.random.default_rng(num_cases)
    values: dict[Key, float] = {
        (f"c{case}", f"t{target}", method, score): float(rng.normal() + place)
        for case in range(num_cases)
        for target in range(num_targets)
        for place, method in enumerate(METHODS)
        for score in SCORES
    }
    return FakeRun(values, SCORES, **more)  # type: ignore[arg-type]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which cost more than all the rest."""
    for name in ("draw_boxes", "draw_heat_map", "draw_rank_diagram"):
        monkeypatch.setattr(f"esegeta.compare.save.{name}", lambda path, what: path.touch())


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run = fake()
    run.values = {**run.values, ("c0", "t0", "lrp", "auroc"): math.nan}
    run.reasons = {("c0", "t0", "lrp", "auroc"): "no voxel of the label | at all"}
    run.failed = {("c0", "t0", "gone"): "gone: the map is zero everywhere; and a hint"}
    run.degenerate = [("c0", "t0", "gone")]
    save_study(compare_runs([run.write(folder / "liver")]), folder / "out")
    return folder / "out"


@pytest.mark.slow
def test_all_files_are_there_and_are_listed(saved: Path) -> None:
    names = {path.name for path in saved.iterdir()}
    assert names == {
        "scores.csv",
        "summary.csv",
        "ranks.csv",
        "tests.csv",
        "correlations.csv",
        "correlations.png",
        "leaderboard.md",
        "leaderboard.tex",
        "report.md",
        "compare.json",
        "boxes_faithfulness.png",
        "boxes_robustness.png",
        "boxes_localisation.png",
        "boxes_other.png",
        "critical_difference_sensitivity_n.png",
        "critical_difference_sensitivity_max.png",
        "critical_difference_auroc.png",
    }
    record = json.loads((saved / "compare.json").read_text())
    assert set(record["files"]) == names
    assert record["state"] == "complete"


@pytest.mark.slow
def test_the_table_of_scores_equals_that_of_the_run_with_its_model(saved: Path) -> None:
    rows = rows_of(saved / "scores.csv")
    assert list(rows[0]) == ["model", "case", "target", "method", "score", "value", "better"]
    before = rows_of(saved.parent / "liver" / "scores.csv")
    assert sorted(tuple(row.values()) for row in rows) == sorted(
        ("liver", *row.values()) for row in before
    )


@pytest.mark.slow
def test_the_summary_equals_a_recomputation(saved: Path) -> None:
    rows = rows_of(saved / "summary.csv")
    expected = "model method score n n_nan median q1 q3 mean_rank better n_cases"
    assert list(rows[0]) == expected.split()
    assert len(rows) == len(METHODS) * len(SCORES)
    values = rows_of(saved / "scores.csv")
    ranks = rows_of(saved / "ranks.csv")
    for row in rows:
        same = {key: row[key] for key in ("method", "score")}
        mine = [float(one["value"]) for one in values if same.items() <= one.items()]
        known = [value for value in mine if math.isfinite(value)]
        assert (int(row["n"]), int(row["n_nan"])) == (len(known), len(mine) - len(known))
        assert float(row["median"]) == pytest.approx(np.median(known))
        assert float(row["q1"]) == pytest.approx(np.percentile(known, 25))
        assert float(row["q3"]) == pytest.approx(np.percentile(known, 75))
        own = [float(one["rank"]) for one in ranks if same.items() <= one.items()]
        if row["better"] == "none":
            assert row["mean_rank"] == ""
            assert own == []
        else:
            assert float(row["mean_rank"]) == pytest.approx(np.mean(own))


def test_ranks_add_up(saved: Path) -> None:
    rows = rows_of(saved / "ranks.csv")
    assert list(rows[0]) == ["model", "method", "score", "case", "value", "rank", "n_cases"]
    for score in ("sensitivity_n", "auroc"):
        for case in {row["case"] for row in rows}:
            own = {r["method"]: r for r in rows if (r["score"], r["case"]) == (score, case)}
            turn = -1 if score == "auroc" else 1
            expected = stats.rankdata([turn * float(own[m]["value"]) for m in METHODS])
            assert [float(own[method]["rank"]) for method in METHODS] == expected.tolist()


def test_the_table_of_tests_equals_a_recomputation(saved: Path) -> None:
    rows = rows_of(saved / "tests.csv")
    assert len(rows) == 3 * 6
    values = {
        (row["case"], row["target"], row["method"], row["score"]): float(row["value"])
        for row in rows_of(saved / "scores.csv")
    }
    cases = sorted({key[0] for key in values})
    for row in rows:
        pairs = [
            [
                values[case, target, row[f"method_{side}"], row["score"]]
                for target in ("t0", "t1")
                for side in "ab"
            ]
            for case in cases
        ]
        gains = [np.nanmean([one[0] - one[1], one[2] - one[3]]) for one in pairs]
        assert float(row["p"]) == pytest.approx(stats.wilcoxon(gains, method="exact").pvalue)
        assert float(row["median_difference"]) == pytest.approx(np.median(gains))
        wanted = "lrp" in (row["method_a"], row["method_b"]) and row["score"] == "auroc"
        assert (row["num_cases"], row["num_left_out"]) == ("7", "1" if wanted else "0")
        better_is_first = (np.median(gains) > 0) == (row["score"] == "auroc")
        assert (float(row["effect"]) > 0) == better_is_first
        assert float(row["p"]) <= float(row["p_holm"]) <= 1
        assert row["refusal"] == ""


def test_the_table_of_correlations_equals_a_recomputation(saved: Path) -> None:
    rows = rows_of(saved / "correlations.csv")
    assert len(rows) == 6
    table: dict[str, dict[tuple[str, ...], float]] = {}
    for row in rows_of(saved / "scores.csv"):
        task = (row["case"], row["target"], row["method"])
        table.setdefault(row["score"], {})[task] = float(row["value"])
    for row in rows:
        one, other = table[row["score_a"]], table[row["score_b"]]
        both = [key for key in one if math.isfinite(one[key] + other[key])]
        rho = stats.spearmanr([one[key] for key in both], [other[key] for key in both]).statistic
        assert int(row["num_units"]) == len(both)
        assert float(row["spearman"]) == pytest.approx(rho)
    same = {(row["score_a"], row["score_b"]): row["same_direction"] for row in rows}
    assert same["sensitivity_n", "sensitivity_max"] == "yes"
    assert same["sensitivity_n", "auroc"] == "no"
    assert same["auroc", "halo_mm"] == "none"


def test_the_report_lists_degenerate_maps_and_undefined_values(saved: Path) -> None:
    text = (saved / "report.md").read_text(encoding="utf-8")
    for fragment in (
        "1 model, 4 methods, 7 cases, 2 targets, 4 scores, 224 values",
        "Null competitors, in italics: random_map",
        "## Degenerate maps, excluded\n\n- gone on c0 / t0: gone: the map is zero everywhere",
        "auroc, 1 value: no voxel of the label \\| at all (lrp on c0 / t0)",
        "halo_mm: neither high nor low is better",
        "paired tests find a difference",
        "- `critical_difference_auroc.png`",
    ):
        assert fragment in text


def test_the_record_holds_counts(saved: Path) -> None:
    record = json.loads((saved / "compare.json").read_text())
    assert record["counts"] == {
        "models": 1,
        "methods": 4,
        "cases": 7,
        "targets": 2,
        "scores": 4,
        "values": 224,
        "tests": 18,
    }
    (run,) = record["inputs"]
    assert run["folder"] == str(saved.parent / "liver")
    assert (run["model"], run["state"], run["weights_sha256"]) == ("liver", "complete", "w")
    assert record["versions"].keys() == {"python", "numpy", "scipy", "matplotlib"}
    assert record["degenerate"][0]["method"] == "gone"
    assert record["undefined"][0]["reason"] == "no voxel of the label | at all"


def small(folder: Path, **more: object) -> Study:
    return compare_runs([fake(1, 1, **more).write(folder)])


@pytest.mark.usefixtures("undrawn")
def test_files_of_a_killed_comparison_are_removed(tmp_path: Path) -> None:
    left = dead_temporary(tmp_path / "out")
    save_study(small(tmp_path / "run"), tmp_path / "out")
    assert not left.exists()


@pytest.mark.usefixtures("undrawn")
def test_too_few_cases_for_tests_are_noted(tmp_path: Path) -> None:
    save_study(small(tmp_path / "run"), tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "No tests: 1 paired case at most, and with fewer than 6" in text
    rows = rows_of(tmp_path / "out" / "tests.csv")
    assert {row["refusal"] for row in rows} == {"1 paired cases, but 6 are needed"}
    assert {row["p"] + row["p_holm"] + row["effect"] for row in rows} == {""}
    assert not list((tmp_path / "out").glob("critical_difference*"))


@pytest.mark.usefixtures("undrawn")
def test_families_too_large_for_their_cases_are_pointed_out(tmp_path: Path) -> None:
    """Seven cases: p is 1/64 at least, and six tests take it to 0.094."""
    save_study(compare_runs([fake().write(tmp_path / "run")]), tmp_path / "out")
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "0 of 18 paired tests find a difference" in text
    assert "None could: among 6 tests of one score it takes 8 cases to reach 0.05." in text
    assert re.search(r"\| sensitivity_n +\| +4 \| +7 \| .* 0.0938 \|", text)


@pytest.mark.usefixtures("undrawn")
def test_an_earlier_study_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save_study(compare_runs([fake().write(tmp_path / "a")]), out)
    assert (out / "critical_difference_auroc.png").is_file()
    (out / "mine.txt").write_text("precious")
    (out / "critical_difference_mine.png").write_text("precious")
    files = save_study(small(tmp_path / "b"), out)
    assert {path.name for path in out.iterdir()} == {
        *(path.name for path in files),
        "mine.txt",
        "critical_difference_mine.png",
    }


@pytest.mark.usefixtures("undrawn")
def test_files_listed_outside_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "precious.txt").write_text("precious")
    (out / "compare.json").write_text('{"files": ["../precious.txt", 3]}')
    save_study(small(tmp_path / "run"), out)
    assert (tmp_path / "precious.txt").is_file()


@pytest.mark.usefixtures("undrawn")
def test_the_folder_of_a_run_is_refused(tmp_path: Path) -> None:
    study = small(tmp_path / "run")
    before = (tmp_path / "run" / "scores.csv").read_text()
    with pytest.raises(OutputError, match="is the folder of a run"):
        save_study(study, tmp_path / "run")
    assert (tmp_path / "run" / "scores.csv").read_text() == before


@pytest.mark.usefixtures("undrawn")
def test_files_that_no_comparison_wrote_are_not_overwritten(tmp_path: Path) -> None:
    study = small(tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    (out / "summary.csv").write_text("precious")
    with pytest.raises(
        OutputError, match=r"holds summary\.csv, which was not written by a comparison"
    ):
        save_study(study, out)
    assert [path.name for path in out.iterdir()] == ["summary.csv"]
    assert (out / "summary.csv").read_text() == "precious"


@pytest.mark.usefixtures("undrawn")
def test_names_are_made_safe_for_files_and_stay_unique(tmp_path: Path) -> None:
    values = {
        (f"c{c}", "t", m, score): float(c + p)
        for c in range(6)
        for p, m in enumerate("xyz")
        for score in ("a/b:c", "a:b/c")
    }
    save_study(compare_runs([FakeRun(values).write(tmp_path / "run")]), tmp_path / "out")
    for name in ("a-b-c", "a-b-c-"):
        assert (tmp_path / "out" / f"critical_difference_{name}.png").is_file()


def test_one_competitor_and_one_score_still_make_a_study(tmp_path: Path) -> None:
    run = FakeRun({("c", "t", "saliency", "sensitivity_n"): 0.5}).write(tmp_path / "run")
    files = save_study(compare_runs([run]), tmp_path / "out")
    assert "correlations.png" not in {path.name for path in files}
    assert rows_of(tmp_path / "out" / "tests.csv") == []
    assert rows_of(tmp_path / "out" / "ranks.csv") == []
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "No tests: no score has two competitors" in text
    assert "sensitivity_n: there is only one competitor" in text


def test_nothing_but_undefined_values_still_makes_a_study(tmp_path: Path) -> None:
    values = {("c", "t", method, "auroc"): math.nan for method in METHODS}
    run = FakeRun(values, {"auroc": "higher"}).write(tmp_path / "run")
    save_study(compare_runs([run]), tmp_path / "out")
    assert {row["median"] for row in rows_of(tmp_path / "out" / "summary.csv")} == {"nan"}
