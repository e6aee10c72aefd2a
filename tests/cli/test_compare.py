"""`esegeta compare` on runs that ran: what it prints, what it leaves, how it refuses."""

import csv
from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.builders import unet
from tests.compare.runs import FakeRun
from tests.experiments import Lab, esegeta, pointwise_lab, unet_lab

SHAPE = (8, 8, 8)


def lab_of(folder: Path, *, cases: int = 2) -> Lab:
    """Return a lab of one window a case, two methods and both null competitors."""
    folder.mkdir()
    lab = unet_lab(folder, cases=cases, shape=SHAPE)
    lab.keys["methods"] = ["saliency", "input_x_gradient", "random_map", "edge_map"]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 4}]
    return lab


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures."""
    for name in ("draw_boxes", "draw_heat_map", "draw_rank_diagram"):
        monkeypatch.setattr(f"esegeta.compare.save.{name}", lambda path, what: path.touch())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_one_run_is_compared_with_its_null_competitors(tmp_path: Path) -> None:
    lab = lab_of(tmp_path / "lab", cases=6)
    assert lab.run("-q").exit_code == 0
    out = tmp_path / "out"
    result = esegeta("compare", lab.root, "-o", out)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    for text in ("mean ranks", "saliency", "Null competitors, in italics: random_map, edge_map"):
        assert text in result.stdout
    assert "12 paired tests" in result.stdout
    assert f"leaderboard in {out / 'leaderboard.md'}" in result.stdout
    rows = rows_of(out / "scores.csv")
    assert [{**row, "model": ""} for row in rows] == [
        {"model": "", **row}
        for row in sorted(
            lab.scores(), key=lambda row: [one["score"] for one in rows].index(row["score"])
        )
    ]
    assert {row["model"] for row in rows} == {"tiny"}
    assert (out / "critical_difference_infidelity_relative.png").is_file()
    assert (out / "boxes_faithfulness.png").is_file()
    assert "*random_map*" in (out / "leaderboard.md").read_text()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_two_models_and_two_halves_of_one(tmp_path: Path) -> None:
    first = lab_of(tmp_path / "first")
    first.keys["methods"] = ["saliency", "random_map"]
    assert first.run("-q").exit_code == 0
    rest = lab_of(tmp_path / "rest")
    rest.keys["methods"] = ["edge_map", "input_x_gradient"]
    assert rest.run("-q").exit_code == 0
    other = lab_of(tmp_path / "other")
    other.keys["name"] = "another"
    save_file(
        {key: value * 0.9 for key, value in unet(3).state_dict().items()},
        tmp_path / "other" / "w.safetensors",
    )
    assert other.run("-q").exit_code == 0
    roots = (first.root, rest.root, other.folder / "out" / "another")
    result = esegeta("compare", *roots, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    rows = rows_of(tmp_path / "out" / "summary.csv")
    found = {(row["model"], row["method"]) for row in rows}
    methods = ("saliency", "random_map", "edge_map", "input_x_gradient")
    assert found == {(model, method) for model in ("tiny", "another") for method in methods}
    tests = rows_of(tmp_path / "out" / "tests.csv")
    assert len(tests) == 2 * (6 + 6 + 4)  # raw infidelity hangs on the scale of maps
    assert "tiny / saliency" in result.stdout
    assert "No tests: 2 paired cases at most" in result.stdout


@pytest.mark.usefixtures("undrawn")
@pytest.mark.slow
def test_other_parameters_of_a_score_are_refused_and_an_id_helps(tmp_path: Path) -> None:
    first = lab_of(tmp_path / "first")
    assert first.run("-q").exit_code == 0
    second = lab_of(tmp_path / "second")
    second.keys["scores"][0]["noise"] = 0.3
    assert second.run("-q").exit_code == 0
    out = tmp_path / "out"
    result = esegeta("compare", first.root, second.root, "-o", out)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    for text in ('error: score "infidelity"', "noise is 0.1 in", "0.3 in", str(second.root)):
        assert text in result.stderr
    assert not out.exists()
    second.keys["scores"][0]["id"] = "inf3"
    assert second.run("-q").exit_code == 0
    assert esegeta("compare", first.root, second.root, "-o", out).exit_code == 0
    names = {row["score"] for row in rows_of(out / "scores.csv")}
    assert {"infidelity", "inf3.infidelity"} <= names


@pytest.mark.usefixtures("undrawn")
def test_degenerate_maps_and_undefined_values_are_named(tmp_path: Path) -> None:
    """Logits that ignore the image: its gradient is zero, and no change is there to foresee."""
    lab = pointwise_lab(tmp_path, [[0.0], [0.0]], [0.0, 1.0], shape=SHAPE)
    lab.keys["methods"] = ["saliency", "random_map", "edge_map"]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 4}]
    assert lab.run("-q").exit_code == 1
    result = esegeta("compare", lab.root, "-o", tmp_path / "compared", "-q")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "has failed tasks (1); its 6 available values are used" in result.stderr
    assert "1 degenerate maps are excluded and 0 other tasks failed" in result.stderr
    text = (tmp_path / "compared" / "report.md").read_text()
    named = text.partition("## Degenerate maps, excluded\n\n- saliency on a / liver: ")[2]
    assert named.startswith("saliency: the map is zero everywhere")
    assert "infidelity_relative, 2 values" in text
    rows = rows_of(tmp_path / "compared" / "summary.csv")
    assert {row["method"] for row in rows} == {"random_map", "edge_map"}


@pytest.mark.usefixtures("undrawn")
def test_one_method_has_no_ranks_and_no_tests(tmp_path: Path) -> None:
    run = FakeRun({("c", "t", "saliency", "infidelity"): 0.5}).write(tmp_path / "run")
    result = esegeta("compare", run, "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "no ranks" in result.stdout
    assert "No tests: no score has two competitors" in result.stdout
    assert "There is no null competitor" in result.stdout


@pytest.mark.usefixtures("undrawn")
def test_long_leaderboards_are_cut_short(tmp_path: Path) -> None:
    values = {("c", "t", f"m{n:02}[x]", "deletion"): float(n) for n in range(20)}
    run = FakeRun(values).write(tmp_path / "run")
    result = esegeta("compare", run, "-o", tmp_path / "out")
    assert "m11[x]" in result.stdout
    assert "m12[x]" not in result.stdout
    assert "... and 8 more" in result.stdout


def test_a_default_folder_beside_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    monkeypatch.chdir(tmp_path)
    FakeRun({("c", "t", "saliency", "infidelity"): 0.5}).write(Path("results/liver"))
    for _ in range(2):  # the second time the comparison is among the runs
        found = sorted(Path("results").iterdir())
        assert esegeta("compare", *found).exit_code == 0
    assert Path("results/compare/report.md").is_file()


def broken(folder: Path, text: str) -> Path:
    run = FakeRun({("c", "t", "saliency", "infidelity"): 0.5}).write(folder)
    (run / "scores.csv").write_text(text)
    return run


def test_invalid_comparisons_are_refused(tmp_path: Path) -> None:
    good = FakeRun({("c", "t", "saliency", "infidelity"): 0.5}).write(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    head = "case,target,method,score,value,better\n"
    cases = (
        ([tmp_path / "god"], "no such folder; did you mean"),
        ([tmp_path / "empty"], "not a run"),
        ([tmp_path], f"it contains runs: {tmp_path / 'bare'} {good}"),
        ([FakeRun({}).write(tmp_path / "bare")], "the run has no scores"),
        ([good, broken(tmp_path / "x", f"{head}a,b\n")], "scores.csv:2: has 2 fields"),
        ([broken(tmp_path / "y", f"{head}a,b,c,d,1e,lower\n")], "scores.csv:2: value"),
    )
    for paths, text in cases:
        result = esegeta("compare", *paths, "-o", tmp_path / "out")
        assert result.exit_code == 2
        assert "Traceback" not in result.output
        assert text in result.stderr
        assert result.stdout == ""
        assert not (tmp_path / "out").exists()
    result = esegeta("compare", good, "-o", good)
    assert result.exit_code == 2
    assert "is the folder of a run" in result.stderr
    assert esegeta("compare").exit_code == 2


@pytest.mark.usefixtures("undrawn")
def test_methods_no_better_than_the_random_map_have_a_dagger(tmp_path: Path) -> None:
    values = {
        (f"c{case}", "t", method, "sensitivity_n"): value + case / 100
        for case in range(3)
        for method, value in (("good", 0.1), ("random_map", 0.5), ("weak", 0.9))
    }
    run = FakeRun(values).write(tmp_path / "run")
    result = esegeta("compare", run, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["good", "1.00"],
        ["random_map", "2.00"],
        ["weak", "†"],
    ]
    told = " ".join(result.stdout.split())
    assert "†: does not beat the random map on a faithfulness score" in told
    assert "... and" not in result.stdout
