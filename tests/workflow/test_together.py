"""Several targets of a case share forward passes; files, order, resuming and failures do not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.explain import Explainer
from esegeta.predict import Predictor
from tests.experiments import Lab, pointwise_lab, unet_lab

METHODS = ["saliency", "occlusion", {"name": "integrated_gradients", "steps": 2, "tolerance": 9.0}]
NAMES = ["saliency", "occlusion", "integrated_gradients"]
BOXES = {
    "corner": [[0, 0, 0], [3, 3, 3]],
    "middle": [[2, 2, 2], [7, 8, 6]],
    "far": [[9, 8, 6], [12, 11, 9]],
}


def boxes_lab(folder: Path) -> Lab:
    lab = unet_lab(folder, cases=2)
    lab.keys["targets"] = [
        {"name": name, "label": "liver", "box": box} for name, box in BOXES.items()
    ]
    lab.keys["methods"] = list(METHODS)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    return lab


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows went through the network, pass by pass."""
    counts: list[int] = []
    run = Predictor.run

    def counted(self: Predictor, crops: Any, windows: Any) -> Any:
        counts.append(len(crops))
        return run(self, crops, windows)

    monkeypatch.setattr(Predictor, "run", counted)
    return counts


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many targets were explained at a time."""
    sizes: list[int] = []
    explain = Explainer.explain_together

    def noted(self: Explainer, predictor: Any, volume: Any, targets: Any) -> Any:
        sizes.append(len(targets))
        return explain(self, predictor, volume, targets)

    monkeypatch.setattr(Explainer, "explain_together", noted)
    return sizes


def units_in_order(methods: list[str]) -> list[tuple[str, str, str]]:
    return [(case, target, method) for case in "ab" for target in BOXES for method in methods]


@pytest.mark.slow
def test_targets_explained_together_give_the_results_of_each_alone(
    tmp_path: Path, groups: list[int]
) -> None:
    lab = boxes_lab(tmp_path)
    assert lab.run().exit_code == 0
    assert sorted(set(groups)) == [1, 3]
    expected = units_in_order(NAMES)
    assert [(u["case"], u["target"], u["method"]) for u in lab.record()["units"]] == expected
    scores = lab.scores()
    assert [(row["case"], row["target"], row["method"]) for row in scores[::3]] == expected
    maps = {task: lab.map(*task) for task in expected}
    for task in expected:
        more = lab.sidecar(*task)["facts"]["more"]
        assert more.get("shared_with") == (None if task[2] == "occlusion" else 2)
    assert all(task["seconds"] > 0 for task in lab.record()["units"])
    targets = lab.keys["targets"]
    for target in targets:
        lab.keys["targets"] = [target]
        assert lab.run("--overwrite").exit_code == 0
        for task in lab.statuses():
            np.testing.assert_allclose(lab.map(*task), maps[task], rtol=1e-5, atol=1e-6)
        alone = {(r["case"], r["method"], r["score"]): float(r["value"]) for r in lab.scores()}
        for row in scores:
            if row["target"] == target["name"]:
                value = alone[row["case"], row["method"], row["score"]]
                assert float(row["value"]) == pytest.approx(value, rel=1e-3)


@pytest.mark.slow
def test_three_targets_take_fewer_windows_than_three_runs(
    tmp_path: Path, forwards: list[int]
) -> None:
    lab = boxes_lab(tmp_path)
    lab.keys["methods"], lab.keys["scores"] = ["saliency"], []
    lab.keys["targets"] = [{"name": name, "label": "liver", "over": "all"} for name in BOXES]
    lab.run("--set", "targets.1.reduce=mean")
    together = sum(forwards)
    forwards.clear()
    lab.keys["targets"] = lab.keys["targets"][:1]
    lab.run("--overwrite")
    assert together == sum(forwards) > 0


@pytest.mark.slow
def test_only_unfinished_tasks_join(tmp_path: Path, groups: list[int]) -> None:
    lab = boxes_lab(tmp_path)
    lab.keys["data"]["cases"].pop()
    lab.run()
    before = lab.maps()
    gone = [("a", "corner", "saliency"), ("a", "far", "saliency")]
    for task in gone:
        lab.file(*task).unlink()
    groups.clear()
    assert lab.run().exit_code == 0
    assert groups == [2]
    assert [task for task, status in lab.statuses().items() if status == "done"] == gone
    assert {name for name, time in lab.maps().items() if before[name] != time} == {
        lab.file(*task).name for task in gone
    }
    assert lab.sidecar(*gone[0])["facts"]["more"]["shared_with"] == 1


def test_targets_are_taken_a_few_at_a_time(tmp_path: Path, groups: list[int]) -> None:
    lab = boxes_lab(tmp_path)
    lab.keys["data"]["cases"].pop()
    lab.keys["methods"], lab.keys["scores"] = ["saliency"], []
    lab.keys["targets"] = [
        {"name": f"t{place}", "label": "liver", "box": [[place, 0, 0], [place + 2, 3, 3]]}
        for place in range(6)
    ]
    assert lab.run().exit_code == 0
    assert groups == [4, 2]
    assert [task[1] for task in lab.statuses()] == [f"t{place}" for place in range(6)]


def flat_lab(folder: Path) -> Lab:
    """The logit of the second label does not depend on the image: its map is zero."""
    lab = pointwise_lab(folder, [[0.0], [1.0], [0.0], [2.0]], [0.0, 0.0, 1.0, 0.0])
    lab.keys["labels"] = {1: "liver", 2: "flat", 3: "spleen"}
    lab.keys["targets"] = [{"label": label, "over": "all"} for label in lab.keys["labels"].values()]
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    return lab


def test_a_failure_hits_the_task_that_it_belongs_to(tmp_path: Path, groups: list[int]) -> None:
    lab = flat_lab(tmp_path)
    result = lab.run()
    assert result.exit_code == 1
    assert groups == [3, 1, 1, 1] * 2
    assert lab.statuses() == {
        ("a", label, method): "failed" if label == "flat" else "done"
        for label in ("liver", "flat", "spleen")
        for method in ("saliency", "input_x_gradient")
    }
    assert result.stderr.count("the map is zero everywhere") == 2
    assert not lab.file("a", "flat", "saliency").exists()
    np.testing.assert_allclose(lab.map("a", "spleen", "saliency"), 2.0, atol=1e-5)


@pytest.mark.slow
def test_fail_fast_stops_at_the_first_of_a_group(tmp_path: Path) -> None:
    lab = flat_lab(tmp_path)
    assert lab.run("--fail-fast").exit_code == 1
    assert lab.statuses() == {
        ("a", "liver", "saliency"): "done",
        ("a", "flat", "saliency"): "failed",
    }


@pytest.mark.slow
def test_a_target_that_cannot_be_formed_does_not_stop_its_group(
    tmp_path: Path, groups: list[int]
) -> None:
    lab = boxes_lab(tmp_path)
    lab.keys["methods"] = ["saliency"]
    lab.keys["targets"].insert(1, {"name": "none", "label": "liver", "component": 99})
    assert lab.run().exit_code == 1
    assert set(groups) == {3}
    assert {task[1] for task, status in lab.statuses().items() if status == "failed"} == {"none"}
    assert [task[1] for task in lab.statuses()][:4] == ["corner", "none", "middle", "far"]
