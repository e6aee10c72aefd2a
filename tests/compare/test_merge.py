"""Many runs in one table: what merges, what is told apart, what is refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from esegeta.compare import compare_runs
from esegeta.compare.merge import Competitor
from esegeta.compare.study import Study
from esegeta.errors import RunError
from tests.compare.runs import FakeRun, Key

VALUES: dict[Key, float] = {
    ("c1", "t", "saliency", "infidelity"): 0.5,
    ("c1", "t", "random_map", "infidelity"): 0.9,
    ("c2", "t", "saliency", "infidelity"): 0.25,
    ("c2", "t", "random_map", "infidelity"): 0.75,
}


def part(**wanted: str) -> dict[Key, float]:
    """Return the values of one case or method."""
    places = {"case": 0, "method": 2}
    return {
        key: value
        for key, value in VALUES.items()
        if all(key[places[name]] == text for name, text in wanted.items())
    }


def values_of(study: Study) -> dict[tuple[str, ...], float]:
    """Return all values by model, case, target, method and score."""
    return {
        (entry.competitor.model, entry.case, entry.target, entry.competitor.method, kind.name): (
            entry.value
        )
        for kind, entries in study.merged.entries.items()
        for entry in entries
    }


def test_cases_and_methods_of_one_model_merge(tmp_path: Path) -> None:
    paths = [
        FakeRun(part(case="c1", method="saliency")).write(tmp_path / "x" / "liver"),
        FakeRun(part(case="c2")).write(tmp_path / "y" / "liver"),
        FakeRun(part(case="c1", method="random_map")).write(tmp_path / "z" / "liver"),
    ]
    study = compare_runs(paths)
    assert list(study.merged.models) == ["liver"]
    assert values_of(study) == {("liver", *key): value for key, value in VALUES.items()}
    assert study.merged.competitors == (
        Competitor("liver", "saliency"),
        Competitor("liver", "random_map", "random_map"),
    )
    assert study.merged.notes == ()


def test_a_task_in_two_runs_counts_once(tmp_path: Path) -> None:
    values = {**VALUES, ("c1", "t", "ig", "infidelity"): math.nan}
    paths = [FakeRun(values).write(tmp_path / name) for name in "xy"]
    study = compare_runs([*paths, paths[0], tmp_path / "x" / ".." / "x"])
    assert len(values_of(study)) == 5
    assert len(study.folders) == 2
    assert len(study.merged.undefined) == 1


def test_two_values_of_one_task_are_refused(tmp_path: Path) -> None:
    other = {**VALUES, ("c2", "t", "saliency", "infidelity"): 0.26}
    paths = [FakeRun(VALUES).write(tmp_path / "x"), FakeRun(other).write(tmp_path / "y")]
    with pytest.raises(RunError) as caught:
        compare_runs(paths)
    for text in ("infidelity of c2 / t / saliency", "0.25 in", "0.26 in", *map(str, paths)):
        assert text in str(caught.value)


def test_a_value_and_nan_of_one_task_are_refused(tmp_path: Path) -> None:
    other = {**VALUES, ("c2", "t", "saliency", "infidelity"): math.nan}
    paths = [FakeRun(VALUES).write(tmp_path / "x"), FakeRun(other).write(tmp_path / "y")]
    with pytest.raises(RunError, match="and nan in"):
        compare_runs(paths)


def test_runs_of_different_names_are_different_models(tmp_path: Path) -> None:
    paths = [
        FakeRun(VALUES, name="unet", weights="a").write(tmp_path / "unet"),
        FakeRun(part(case="c1"), name="vnet", weights="b").write(tmp_path / "vnet"),
    ]
    study = compare_runs(paths)
    assert list(study.merged.models) == ["unet", "vnet"]
    assert study.merged.label(study.merged.competitors[2]) == "vnet / saliency"
    assert len(values_of(study)) == 6


def test_runs_of_one_name_and_other_weights_are_told_apart_by_folder(tmp_path: Path) -> None:
    paths = [
        FakeRun(VALUES, weights=weights).write(tmp_path / folder / "liver")
        for weights, folder in (("1", "old"), ("2", "new"))
    ]
    study = compare_runs(paths)
    assert list(study.merged.models) == ["liver (old)", "liver (new)"]
    (note,) = study.merged.notes
    assert all(text in note for text in ("different weights", str(paths[0]), str(paths[1])))
    third = FakeRun(VALUES, weights="3").write(tmp_path / "2025" / "new" / "liver")
    names = [f"liver ({tmp_path.name}/{one})" for one in ("old", "new")]
    assert list(compare_runs([*paths, third]).merged.models) == [*names, "liver (2025/new)"]


def test_the_same_weights_under_other_windows_are_another_model(tmp_path: Path) -> None:
    paths = [
        FakeRun(VALUES, config={"inference": {"overlap": overlap, "batch_size": batch}}).write(
            tmp_path / folder
        )
        for overlap, batch, folder in ((0.25, 1, "a"), (0.5, 1, "b"), (0.25, 2, "c"))
    ]
    study = compare_runs(paths[:2])
    assert list(study.merged.models) == ["liver (a)", "liver (b)"]
    assert "a different inference.overlap" in study.merged.notes[0]
    assert list(compare_runs([paths[0], paths[2]]).merged.models) == ["liver"]


def test_the_same_weights_under_two_names_are_pointed_out(tmp_path: Path) -> None:
    paths = [FakeRun(VALUES, name=name).write(tmp_path / name) for name in ("one", "two")]
    study = compare_runs(paths)
    assert list(study.merged.models) == ["one", "two"]
    assert "the same weights under two names" in study.merged.notes[0]


def two(tmp_path: Path, one: dict[str, Any], other: dict[str, Any]) -> list[Path]:
    """Write two runs of one model on case c1 and on c2 that differ in what is given."""
    return [
        FakeRun(part(case="c1"), **one).write(tmp_path / "x"),
        FakeRun(part(case="c2"), **other).write(tmp_path / "y"),
    ]


DELETION: dict[str, Any] = {"name": "infidelity", "baseline": {"kind": "zero"}, "seed": 1}


def with_baseline(kind: str, seed: int) -> dict[str, Any]:
    return {"scores": {"infidelity": {**DELETION, "baseline": {"kind": kind}, "seed": seed}}}


@pytest.mark.parametrize("name", ["liver", "other"])
def test_scores_with_other_parameters_are_refused(name: str, tmp_path: Path) -> None:
    """Between models just as within one."""
    paths = two(tmp_path, with_baseline("zero", 1), {**with_baseline("blur", 1), "name": name})
    with pytest.raises(RunError) as caught:
        compare_runs(paths)
    for text in ('score "infidelity"', "baseline.kind", '"zero" in', '"blur" in', "an id of its"):
        assert text in str(caught.value)
    assert all(str(path) in str(caught.value) for path in paths)


def test_an_incomplete_record_does_not_hide_a_disagreement_of_others(tmp_path: Path) -> None:
    """The targets of the first run are not in its record; those of the others differ."""
    silent = FakeRun(part(case="c1", method="saliency"), config={"targets": []})
    one = FakeRun(part(case="c2"), targets={"t": {"of": "logit"}})
    other = FakeRun(part(case="c1", method="random_map"), targets={"t": {"of": "dice"}})
    paths = [run.write(tmp_path / name) for run, name in ((silent, "x"), (one, "y"), (other, "z"))]
    assert len(compare_runs(paths[:2]).folders) == 2
    with pytest.raises(RunError, match='target "t" is not the same'):
        compare_runs(paths)


def test_another_seed_is_no_other_score(tmp_path: Path) -> None:
    study = compare_runs(two(tmp_path, with_baseline("zero", 1), with_baseline("zero", 2)))
    assert len(values_of(study)) == 4


def test_scores_under_their_own_ids_lie_side_by_side(tmp_path: Path) -> None:
    renamed = {(*key[:3], "inf_blur.infidelity"): value for key, value in VALUES.items()}
    scores = {"inf_blur": {"name": "infidelity", "baseline": {"kind": "blur"}}}
    paths = [
        FakeRun(VALUES, **with_baseline("zero", 0)).write(tmp_path / "x"),
        FakeRun(renamed, scores=scores).write(tmp_path / "y"),
    ]
    study = compare_runs(paths)
    assert [score.kind.name for score in study.scores] == ["infidelity", "inf_blur.infidelity"]
    assert {score.kind.family for score in study.scores} == {"faithfulness"}


def test_settings_of_a_score_without_values_are_not_compared(tmp_path: Path) -> None:
    unused = {"scores": {"infidelity": {}, "new": {"steps": 1}}}
    other = {"scores": {"infidelity": {}, "new": {"steps": 2}}}
    assert len(compare_runs(two(tmp_path, unused, other)).folders) == 2


def test_directions_must_agree(tmp_path: Path) -> None:
    paths = two(tmp_path, {}, {"better": {"infidelity": "higher"}})
    with pytest.raises(RunError, match=r"better is lower in .*x and higher in .*y"):
        compare_runs(paths)


def test_methods_of_one_model_must_agree(tmp_path: Path) -> None:
    one = {"methods": {"saliency": {"absolute": False}, "random_map": {"seed": 1}}}
    other = {"methods": {"saliency": {"absolute": True}, "random_map": {"seed": 2}}}
    paths = two(tmp_path, one, other)
    with pytest.raises(RunError, match=r'method "saliency".*absolute is false in .* and true in'):
        compare_runs(paths)
    FakeRun(part(case="c2"), name="other", **other).write(tmp_path / "z")
    (note, *_) = compare_runs([paths[0], tmp_path / "z"]).merged.notes[1:]
    assert 'method "saliency" is not the same for all models: absolute' in note


def test_targets_must_agree(tmp_path: Path) -> None:
    one = {"targets": {"t": {"of": "logit"}}}
    other = {"targets": {"t": {"of": "probability"}}, "name": "other"}
    with pytest.raises(RunError, match=r'target "t" is not the same.*of is "logit" in'):
        compare_runs(two(tmp_path, one, other))


def with_image(folder: Path, case: str, *hashes: str) -> None:
    """Write the sidecar of a prediction, which knows the case's files."""
    (folder / case).mkdir(exist_ok=True)
    files = ", ".join(f'"{place}": "{text}"' for place, text in enumerate(hashes))
    sidecar = folder / case / f"{case}_desc-prediction_dseg.json"
    sidecar.write_text(f'{{"inputs_sha256": {{{files}}}}}')


def test_cases_of_one_model_must_be_the_same_images(tmp_path: Path) -> None:
    paths = [
        FakeRun(part(method=method)).write(tmp_path / method)
        for method in ("saliency", "random_map")
    ]
    with_image(paths[0], "c1", "image")
    with_image(paths[1], "c1", "image", "label")
    assert compare_runs(paths).merged.notes == ()
    with_image(paths[1], "c1", "another image")
    with pytest.raises(RunError, match='case "c1" is a different image in'):
        compare_runs(paths)


def test_models_on_other_images_are_pointed_out(tmp_path: Path) -> None:
    paths = [FakeRun(VALUES, name=name, weights=name).write(tmp_path / name) for name in ("a", "b")]
    with_image(paths[0], "c2", "t1")
    with_image(paths[1], "c2", "flair")
    (note,) = compare_runs(paths).merged.notes
    assert "paired on different images" in note


def test_components_belong_to_the_definition_of_their_target(tmp_path: Path) -> None:
    values = {("c1", "t#1", "saliency", "infidelity"): 1.0, ("c1", "t#2", "ig", "infidelity"): 2.0}
    run = FakeRun(values)
    run.config = {"targets": [{"name": "t", "component": "each"}]}
    other = dataclasses.replace(run, config={"targets": [{"name": "t", "component": 1}]})
    paths = [run.write(tmp_path / "x"), other.write(tmp_path / "y")]
    with pytest.raises(RunError, match=r'target "t" is not the same.*component'):
        compare_runs(paths)


def test_failed_tasks_are_named_and_degenerate_maps_excluded(tmp_path: Path) -> None:
    """A value that stands beside a task's failure is no value."""
    failed = {
        ("c1", "t", "lrp"): "lrp: the map is zero everywhere; use a rule that keeps biases",
        ("c2", "t", "lrp"): "lrp: 12 voxels of the map are NaN or Inf; try precision: fp32",
        ("c1", "t", "ig"): "consistency_under_flips: the map of the image flipped is NaN or Inf",
        ("c2", "t", "ig"): "grad_cam: layer x is gone; saliency is the same map with zero cost",
    }
    values = {**VALUES, ("c1", "t", "lrp", "infidelity"): 0.0}
    degenerate = [("c1", "t", "lrp"), ("c2", "t", "lrp")]
    run = FakeRun(values, failed=failed, degenerate=degenerate)
    study = compare_runs([run.write(tmp_path / "x")])
    assert values_of(study) == {("liver", *key): value for key, value in VALUES.items()}
    kinds = {(one.case, one.method): one.is_degenerate for one in study.merged.failures}
    assert kinds == {
        ("c1", "lrp"): True,
        ("c2", "lrp"): True,
        ("c1", "ig"): False,
        ("c2", "ig"): False,
    }


def test_undefined_values_keep_their_reasons(tmp_path: Path) -> None:
    key = ("c1", "t", "saliency", "auroc")
    bare = ("c2", "t", "saliency", "auroc")
    values = {**VALUES, key: math.nan, bare: math.nan}
    run = FakeRun(values, reasons={key: "the ground truth is empty"}).write(tmp_path / "x")
    found = {one.case: one.reason for one in compare_runs([run]).merged.undefined}
    assert found == {"c1": "the ground truth is empty", "c2": "no reason given"}


def test_each_undefined_value_of_a_task_has_its_own_reason(tmp_path: Path) -> None:
    auroc, infidelity = (("c1", "t", "saliency", score) for score in ("auroc", "infidelity"))
    values = {**VALUES, auroc: math.nan, infidelity: math.nan}
    run = FakeRun(values, reasons={infidelity: "nothing changes"}).write(tmp_path / "x")
    found = {one.score: one.reason for one in compare_runs([run]).merged.undefined}
    assert found == {"auroc": "no reason given", "infidelity": "nothing changes"}


def test_infinite_values_count_as_undefined(tmp_path: Path) -> None:
    key = ("c1", "t", "saliency", "infidelity")
    study = compare_runs([FakeRun({**VALUES, key: math.inf}).write(tmp_path / "x")])
    assert math.isnan(values_of(study)["liver", *key])
    assert study.merged.undefined[0].reason == "infinite"
    assert "infinite values (1)" in study.merged.notes[0]


@pytest.mark.parametrize(
    ("state", "text"),
    [("running", "stopped"), ("incomplete", "failed tasks (1)"), ("failed", "failed")],
)
def test_unfinished_runs_are_used_and_pointed_out(state: str, text: str, tmp_path: Path) -> None:
    failed = {("c9", "t", "saliency"): "no file"}
    study = compare_runs([FakeRun(VALUES, state=state, failed=failed).write(tmp_path / "x")])
    assert len(values_of(study)) == 4
    (note,) = study.merged.notes
    assert text in note
    assert "its 4 available values are used" in note


def test_a_run_stopped_before_its_first_task_adds_no_values(tmp_path: Path) -> None:
    full = FakeRun(VALUES).write(tmp_path / "x")
    empty = FakeRun({}, scores={"infidelity": {}}, state="running").write(tmp_path / "y")
    (empty / "scores.csv").unlink()
    study = compare_runs([full, empty])
    assert len(values_of(study)) == 4
    assert "its 0 available values are used" in study.merged.notes[0]
    with pytest.raises(RunError, match="none of the runs has a score"):
        compare_runs([empty])


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    full = FakeRun(VALUES).write(tmp_path / "x")
    run = FakeRun({}).write(tmp_path / "y")
    with pytest.raises(RunError, match=r"y: the run has no scores; add `scores:`"):
        compare_runs([full, run])
    (run / "scores.csv").unlink()
    with pytest.raises(RunError, match=r"y: the run has no scores"):
        compare_runs([run])


def test_other_versions_are_pointed_out(tmp_path: Path) -> None:
    paths = [FakeRun(VALUES).write(tmp_path / name) for name in "xy"]
    record = paths[1] / "run.json"
    record.write_text(record.read_text().replace('"esegeta": "0.1.0"', '"esegeta": "0.2.0"'))
    (note,) = compare_runs(paths).merged.notes
    assert "0.1.0, 0.2.0" in note


def test_comparisons_among_the_runs_are_passed_over(tmp_path: Path) -> None:
    run = FakeRun(VALUES).write(tmp_path / "x")
    (tmp_path / "compare").mkdir()
    (tmp_path / "compare" / "compare.json").write_text("{}")
    assert len(compare_runs([tmp_path / "compare", run]).folders) == 1
    with pytest.raises(RunError, match="no run"):
        compare_runs([tmp_path / "compare"])
