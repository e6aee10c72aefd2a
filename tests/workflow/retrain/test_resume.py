"""What was trained is kept: retraining goes on where it was left, and redoes what changed."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from esegeta.explain import InputXGradient
from tests.experiments import esegeta, noise, save_image
from tests.processes import started, stop_once
from tests.workflow.retrain.tasks import SIDES, RetrainLab, small_task

NUM_UNITS = 12
"""Two folds of two references and of two modes of two methods."""


@pytest.fixture
def lab(tmp_path: Path) -> RetrainLab:
    found = small_task(tmp_path)
    assert found.retrain("-q").exit_code == 0
    assert len(found.units()) == NUM_UNITS
    return found


def redone(lab: RetrainLab, before: dict[str, int]) -> set[str]:
    """Return which results were written since."""
    return {name for name, when in lab.units().items() if before.get(name) != when}


@pytest.mark.slow
def test_finished_networks_are_not_trained_again(lab: RetrainLab) -> None:
    before, tables = lab.units(), lab.table("summary.csv")
    (lab.retrain_folder / "summary.csv").unlink()
    result = lab.retrain()
    assert result.exit_code == 0
    assert f"0 done, {NUM_UNITS} skipped, 0 failed" in result.stdout
    assert redone(lab, before) == set()
    assert str(lab.table("summary.csv")) == str(tables)
    assert lab.endings() == {"skipped": NUM_UNITS}


@pytest.mark.slow
def test_missing_or_torn_records_are_done_again(lab: RetrainLab) -> None:
    before = lab.units()
    paths = sorted((lab.retrain_folder / "units").glob("*.json"))
    paths[0].unlink()
    paths[5].write_text("{ torn", encoding="utf-8")
    content = json.loads(paths[7].read_text())
    paths[7].write_text(json.dumps({"fingerprint": content["fingerprint"]}), encoding="utf-8")
    tables = lab.table("retrain.csv")
    assert lab.retrain("-q").exit_code == 0
    assert redone(lab, before) == {paths[0].name, paths[5].name, paths[7].name}
    assert str(lab.table("retrain.csv")) == str(tables)


def _recipe(lab: RetrainLab) -> None:
    lab.keys["retrain"]["iterations"] = 3


def _folds(lab: RetrainLab) -> None:
    lab.keys["data"]["cases"].reverse()


def _image(lab: RetrainLab) -> None:
    side = SIDES[2]
    save_image(lab.folder / "c0_signal.nii.gz", noise((side, side)))


@pytest.mark.parametrize("change", [_recipe, _folds, _image])
@pytest.mark.slow
def test_a_change_to_all_networks_trains_all_again(change: Any, lab: RetrainLab) -> None:
    before = lab.units()
    change(lab)
    assert lab.retrain("-q").exit_code == 0
    assert len(redone(lab, before)) == NUM_UNITS


@pytest.mark.slow
def test_a_change_to_some_networks_trains_only_those_again(lab: RetrainLab) -> None:
    references = {name for name in lab.units() if name.startswith("reference")}
    untouched = {name for name in references if "untouched" in name}
    assert (len(references), len(untouched)) == (4, 2)
    everything = set(lab.units())
    changes: list[tuple[str, Any, set[str]]] = [
        ("baseline", "zero", everything - untouched),
        ("rank_by", "value", everything - references),
        ("fractions", [0.4], {name.replace("0.5", "0.4") for name in everything - references}),
        (
            "seeds",
            [1],
            {name.replace("0.5", "0.4").replace("seed-0", "seed-1") for name in everything},
        ),
    ]
    for key, value, expected in changes:
        before = lab.units()
        lab.keys["retrain"][key] = value
        assert lab.retrain("-q").exit_code == 0
        assert redone(lab, before) == expected, key


@pytest.mark.slow
def test_another_target_or_method_keeps_the_reference_networks(lab: RetrainLab) -> None:
    before = lab.units()
    lab.keys["targets"].append({"name": "other", "label": "liver", "over": "predicted"})
    lab.keys["methods"].append("saliency")
    assert lab.retrain("-q").exit_code == 0
    assert all(name.startswith("saliency") for name in redone(lab, before))
    before = lab.units()
    lab.keys["retrain"]["target"] = "other"
    assert lab.retrain("-q").exit_code == 0
    assert not any(name.startswith("reference") for name in redone(lab, before))
    assert len(redone(lab, before)) == 12


@pytest.mark.slow
def test_scores_and_device_do_not_retrain_anything(lab: RetrainLab) -> None:
    before = lab.units()
    lab.keys["scores"] = ["infidelity"]
    lab.keys["device"] = "auto" if not torch.cuda.is_available() else "cpu"
    assert lab.retrain("-q").exit_code == 0
    assert redone(lab, before) == set()


@pytest.mark.slow
def test_one_failure_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, objective: Any) -> Any:
        raise RuntimeError("out of luck")

    lab = small_task(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(InputXGradient, "attribute", fail)
        result = lab.retrain()
    assert result.exit_code == 1
    assert lab.endings() == {"done": 8, "failed": 4}
    assert (
        "input_x_gradient / roar 0.5 / seed 0, fold 0: RuntimeError: out of luck" in result.stderr
    )
    assert "Traceback" in result.stderr
    assert lab.retrain_record()["state"] == "incomplete"
    assert {row["method"] for row in lab.table("retrain.csv")} == {"reference", "random"}
    assert len(lab.units()) == 8
    result = lab.retrain()
    assert result.exit_code == 0
    assert "4 done, 8 skipped, 0 failed" in result.stdout


@pytest.mark.slow
def test_a_failed_training_leaves_no_older_result(lab: RetrainLab) -> None:
    for place in range(4):
        side = SIDES[2]
        save_image(lab.folder / f"c{place}_signal.nii.gz", noise((side, side)) * 0 + 3e38)
    result = lab.retrain("-q")
    assert result.exit_code == 2
    assert "at iteration 1 of 2" in result.stderr
    assert "lower optimizer_args.lr" in result.stderr
    assert "Traceback" not in result.stderr
    assert lab.units() == {}
    assert lab.table("retrain.csv") == []
    assert not (lab.retrain_folder / "retrain.png").exists()
    assert lab.retrain_record()["state"] == "failed"


def test_no_figure_is_drawn_if_every_training_fails(tmp_path: Path) -> None:
    lab = small_task(tmp_path, modes=["roar"])
    for place in range(4):
        side = SIDES[2]
        save_image(tmp_path / f"c{place}_signal.nii.gz", noise((side, side)) * 0 + 3e38)
    result = lab.retrain("-q")
    assert result.exit_code == 2
    assert "at iteration 1 of 2" in result.stderr
    assert lab.endings() == {"failed": 8}
    assert lab.table("summary.csv") == []
    assert not (lab.retrain_folder / "retrain.png").exists()


@pytest.mark.slow
def test_notes_are_repeated_by_a_run_that_skips_all(tmp_path: Path) -> None:
    lab = small_task(tmp_path, modes=["roar"])
    del lab.keys["data"]["cases"][1:]
    assert "note: a single case: its 2 folds are slabs" in lab.retrain().stdout
    notes = lab.retrain_record()["notes"]
    result = lab.retrain()
    assert "0 done, 8 skipped, 0 failed" in result.stdout
    assert "note: a single case: its 2 folds are slabs" in result.stdout
    assert sorted(lab.retrain_record()["notes"]) == sorted(notes)


def test_an_empty_target_fails_only_its_maps(tmp_path: Path) -> None:
    lab = small_task(tmp_path)
    lab.keys["labels"] = {1: "liver"}
    lab.keys["targets"] = [{"name": "liver", "label": "liver", "over": "false_positive"}]
    for place in range(4):
        side = SIDES[2]
        save_image(tmp_path / f"c{place}_label.nii.gz", noise((side, side)).astype("uint8") * 0 + 1)
    result = lab.retrain("-q")
    assert result.exit_code == 1
    assert "no voxel of label" in result.stderr
    assert lab.endings() == {"done": 4, "failed": 8}


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5])
def test_a_killed_study_is_finished_by_the_next(count: int, tmp_path: Path) -> None:
    lab = small_task(tmp_path, iterations=30)
    config = lab.write()
    with started("retrain", config) as process:
        stop_once(lambda: len(lab.units()) >= count, process, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    before = lab.units()
    assert count <= len(before) < NUM_UNITS
    for name in before:
        json.loads((lab.retrain_folder / "units" / name).read_text())
    assert lab.retrain_record()["state"] == "running"
    assert esegeta("retrain", config).exit_code == 0
    after = lab.units()
    assert len(after) == NUM_UNITS
    assert {name: after[name] for name in before} == before
    assert lab.endings() == {"skipped": len(before), "done": NUM_UNITS - len(before)}
    assert lab.leftovers() == []
    assert lab.retrain_record()["state"] == "complete"
