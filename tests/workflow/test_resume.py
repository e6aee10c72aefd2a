"""Running again: what is finished and matches is skipped, what does not is done, nothing else."""

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.experiments import NETWORKS, Lab, noise, pointwise_lab, save_image

SALIENCY, SMOOTH, GRADIENTS = "saliency", "smoothgrad", "integrated_gradients"


SHAPE = (8, 7, 6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Two cases, two targets, three methods, run once for all tests."""
    folder = tmp_path_factory.mktemp("finished")
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=2, shape=SHAPE)
    for name in "ab":
        save_image(folder / f"{name}_low.nii.gz", noise(SHAPE) / 4)
    save_image(folder / "roi.nii.gz", (noise(SHAPE, seed=5) > 0).astype(np.uint8))
    lab.keys["targets"].append({"name": "part", "label": "liver", "roi": "roi.nii.gz"})
    gradients = {"name": GRADIENTS, "steps": 2, "baseline": {"file": "{case}_low.nii.gz"}}
    smooth = {"name": SMOOTH, "samples": 2, "base": dict(gradients)}
    lab.keys["methods"] = [SALIENCY, smooth, gradients]
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esegeta.report.save.draw_overlay", lambda path, *rest: path.touch())
        patch.delitem(sys.modules, "tiny_networks", raising=False)
        assert lab.run().exit_code == 0
    return lab


@pytest.fixture
def lab(finished: Lab, tmp_path: Path) -> Iterator[Lab]:
    """A copy of the finished run with its times of writing; to be changed at will."""
    shutil.copytree(finished.folder, tmp_path, dirs_exist_ok=True)
    sys.modules.pop("tiny_networks", None)
    yield Lab(tmp_path, {**copy.deepcopy(finished.keys), "output": str(tmp_path / "out")})
    sys.modules.pop("tiny_networks", None)


TASKS = {(c, t, m) for c in "ab" for t in ("liver", "part") for m in (SALIENCY, SMOOTH, GRADIENTS)}


def redone(lab: Lab, *options: str) -> set[tuple[str, str, str]]:
    """Run again; return the tasks that were done, and check that only their maps were written."""
    before = lab.maps()
    assert lab.run(*options).exit_code == 0
    done = {task for task, status in lab.statuses().items() if status == "done"}
    skipped = {task for task, status in lab.statuses().items() if status == "skipped"}
    assert done | skipped == TASKS
    names = {lab.file(*task).name for task in done}
    after = lab.maps()
    assert {name for name in after if after[name] != before.get(name)} == names
    return done


@pytest.mark.slow
def test_a_second_run_skips_all_and_writes_the_same_tables(lab: Lab) -> None:
    files = {path: path.stat().st_mtime_ns for path in (lab.root / "a").iterdir()}
    scores = (lab.root / "scores.csv").read_bytes()
    assert redone(lab) == set()
    assert {path: path.stat().st_mtime_ns for path in (lab.root / "a").iterdir()} == files
    assert (lab.root / "scores.csv").read_bytes() == scores
    assert lab.record()["state"] == "complete"
    assert len(lab.record()["inputs_sha256"]) == 2
    assert "12 skipped" in lab.run().stdout


@pytest.mark.slow
def test_overwrite_does_all_again(lab: Lab) -> None:
    assert redone(lab, "--overwrite") == TASKS


def of_method(*methods: str) -> set[tuple[str, str, str]]:
    return {task for task in TASKS if task[2] in methods}


def of_case(*cases: str) -> set[tuple[str, str, str]]:
    return {task for task in TASKS if task[0] in cases}


def touch_weights(lab: Lab) -> None:
    path = lab.folder / "w.safetensors"
    save_file({key: value * 2 for key, value in load_file(path).items()}, path)


def change_code(lab: Lab) -> None:
    sys.modules.pop("tiny_networks", None)
    text = NETWORKS.replace("return self.head(x)", "return 3 * self.head(x)")
    (lab.folder / "tiny_networks.py").write_text(text)


def change_keys(*path: str | int, **keys: object) -> Callable[[Lab], None]:
    def change(lab: Lab) -> None:
        place = lab.keys
        for part in path:
            place = place[part]
        place.update(keys)

    return change


def swap_image(name: str) -> Callable[[Lab], object]:
    return lambda lab: save_image(lab.folder / name, noise(SHAPE, seed=9))


CHANGES: dict[str, tuple[Callable[[Lab], object], set[tuple[str, str, str]]]] = {
    "a method's parameter": (change_keys("methods", 2, steps=3), of_method(GRADIENTS)),
    "a parameter of a method's method": (
        lambda lab: lab.keys["methods"][1].update(base={"name": GRADIENTS, "steps": 3}),
        of_method(SMOOTH),
    ),
    "the weights": (touch_weights, TASKS),
    "the code of a module": (change_code, TASKS),
    "one image": (swap_image("b.nii.gz"), of_case("b")),
    "one baseline": (
        lambda lab: save_image(lab.folder / "b_low.nii.gz", noise(SHAPE, seed=8)),
        of_case("b") & of_method(SMOOTH, GRADIENTS),
    ),
    "the roi": (
        lambda lab: save_image(
            lab.folder / "roi.nii.gz", (noise(SHAPE, seed=6) > 0).astype(np.uint8)
        ),
        {task for task in TASKS if task[1] == "part"},
    ),
    "a target": (
        change_keys("targets", 1, reduce="mean"),
        {task for task in TASKS if task[1] == "part"},
    ),
    "the overlap": (change_keys("inference", overlap=0.25), TASKS),
    "the preprocessing": (change_keys("data", preprocess={"orientation": "RAS"}), TASKS),
    "the seed": (change_keys(seed=4), TASKS),  # of smoothgrad, and of the score of all
    "a score": (lambda lab: lab.keys["scores"][0].update(samples=3), TASKS),
    "one map deleted": (
        lambda lab: lab.file("a", "part", SMOOTH).unlink(),
        {("a", "part", SMOOTH)},
    ),
    "one picture deleted": (
        lambda lab: lab.file("a", "part", SMOOTH, "overlay.png").unlink(),
        {("a", "part", SMOOTH)},
    ),
    "one sidecar deleted": (
        lambda lab: lab.file("a", "part", SMOOTH, "attrmap.json").unlink(),
        {("a", "part", SMOOTH)},
    ),
    "one sidecar torn": (
        lambda lab: lab.file("a", "part", SMOOTH, "attrmap.json").write_text('{"fingerp'),
        {("a", "part", SMOOTH)},
    ),
    "one sidecar of another map": (
        lambda lab: shutil.copy(
            lab.file("a", "liver", SMOOTH, "attrmap.json"),
            lab.file("a", "part", SMOOTH, "attrmap.json"),
        ),
        {("a", "part", SMOOTH)},
    ),
    "the batch size of windows": (change_keys("inference", batch_size=1), TASKS),
    "nothing but the case's order": (lambda lab: lab.keys["data"]["cases"].reverse(), set()),
    "nothing but the output's spelling": (
        lambda lab: lab.keys.update(output=f"{lab.folder}/./out"),
        set(),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_redoes_only_the_tasks_that_it_affects(change: str, lab: Lab) -> None:
    act, expected = CHANGES[change]
    act(lab)
    assert redone(lab) == expected
    assert redone(lab) == set()
    sidecars = [read for task in TASKS for read in [lab.sidecar(*task)]]
    scores = {(row["case"], row["target"], row["method"]) for row in lab.scores()}
    assert scores == TASKS
    assert all(len(sidecar["scores"]) == 3 for sidecar in sidecars)


@pytest.mark.slow
def test_a_new_method_is_added_to_finished_maps(lab: Lab) -> None:
    lab.keys["methods"].append("input_x_gradient")
    before = lab.maps()
    lab.run()
    done = {task[2] for task, status in lab.statuses().items() if status == "done"}
    assert done == {"input_x_gradient"}
    assert before.items() <= lab.maps().items()


@pytest.mark.slow
def test_a_lost_segmentation_is_written_again(lab: Lab) -> None:
    path = lab.root / "a" / "a_desc-prediction_dseg.nii.gz"
    expected = lab.segmentation("a")
    path.unlink()
    assert redone(lab) == set()
    np.testing.assert_array_equal(lab.segmentation("a"), expected)


def two_components(lab: Lab) -> np.ndarray:
    """Leave one case with two livers, each a target; return its image."""
    array = np.full(SHAPE, -1.0, np.float32)
    array[0:3, 0:3, 0:3] = array[5:7, 5:7, 4:6] = 2.0
    save_image(lab.folder / "a.nii.gz", array)
    lab.keys["data"]["cases"].pop()
    lab.keys["targets"] = [{"label": "liver", "component": "each"}]
    lab.keys["methods"] = [SALIENCY]
    return array


@pytest.mark.slow
def test_finished_components_are_skipped(lab: Lab) -> None:
    two_components(lab)
    lab.run()
    assert set(lab.statuses().values()) == {"done"}
    before = lab.maps()
    lab.run()
    assert {task[1] for task in lab.statuses()} == {"liver#1", "liver#2"}
    assert set(lab.statuses().values()) == {"skipped"}
    assert lab.maps() == before


@pytest.mark.slow
def test_maps_of_vanished_components_are_removed(lab: Lab) -> None:
    array = two_components(lab)
    lab.run()
    assert lab.file("a", "liver#2", SALIENCY).exists()
    array[5:7] = -1.0
    save_image(lab.folder / "a.nii.gz", array)
    lab.run()
    assert lab.file("a", "liver#1", SALIENCY).exists()
    assert not list(lab.file("a", "liver#1", SALIENCY).parent.glob("*liver#2*"))


@pytest.mark.slow
def test_components_of_a_case_with_entities_in_its_name(lab: Lab) -> None:
    array = np.full(SHAPE, -1.0, np.float32)
    array[0:3, 0:3, 0:3] = array[5:7, 5:7, 4:6] = 2.0
    save_image(lab.folder / "a.nii.gz", array)
    lab.keys["data"]["cases"] = [{"name": "sub-1_desc-preproc_T1w", "image": "a.nii.gz"}]
    lab.keys["targets"] = [{"label": "liver", "component": "each"}]
    lab.keys["methods"] = [SALIENCY]
    lab.run()
    array[5:7] = -1.0
    save_image(lab.folder / "a.nii.gz", array)
    lab.run()
    names = [path.name for path in lab.root.rglob("*_attrmap.nii.gz") if "sub-1" in path.name]
    assert names == ["sub-1_desc-preproc_T1w_label-liver#1_desc-saliency_attrmap.nii.gz"]


@pytest.mark.slow
def test_tables_and_record_list_the_same_tasks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """New rows are of these tasks and of no others; old ones stay until their task is redone."""
    lab.keys["inference"]["overlap"] = 0.25
    scores, tasks = [], []
    monkeypatch.setattr("esegeta.workflow.engine.Pace.is_due", lambda self: True)
    monkeypatch.setattr(
        "esegeta.workflow.record.write_scores",
        lambda root, rows, kept: scores.append(len(list(rows))),
    )
    monkeypatch.setattr(
        "esegeta.workflow.record.write_record",
        lambda root, content: tasks.append(len(list(content["units"]))),
    )
    assert lab.run().exit_code == 0
    # One score of three values a task; all is written once before the first and after the last.
    assert tasks == [*range(len(TASKS) + 1), len(TASKS)]
    assert scores == [3 * count for count in tasks]


def test_tables_are_not_written_with_every_task(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    monkeypatch.setattr("esegeta.workflow.engine.Pace.clock", lambda: 0.0, raising=False)
    monkeypatch.setattr(
        "esegeta.workflow.record.write_scores",
        lambda root, rows, kept: counts.append(len(list(rows))),
    )
    assert lab.run().exit_code == 0
    assert len(counts) < len(TASKS)
    assert counts[-1] == 3 * len(TASKS)


@pytest.mark.slow
def test_a_warning_is_repeated_by_the_run_that_skips_its_map(lab: Lab) -> None:
    lab.keys["methods"] = [{"name": GRADIENTS, "steps": 1, "tolerance": 0.0, "baseline": "zero"}]
    lab.keys["targets"] = [{"name": "p", "label": "liver", "of": "probability", "over": "all"}]
    first, second = lab.run(), lab.run()
    assert first.exit_code == second.exit_code == 1
    assert set(lab.statuses().values()) == {"skipped"}
    assert "completeness" in second.stdout
    assert all("completeness" in task["warnings"][0] for task in lab.record()["units"])


@pytest.mark.slow
def test_a_task_that_fails_now_loses_its_earlier_map(lab: Lab) -> None:
    save_image(lab.folder / "b.nii.gz", -1 - np.abs(noise(SHAPE)))
    lab.keys["targets"].pop()
    assert lab.run().exit_code == 1
    assert lab.statuses()["b", "liver", SALIENCY] == "failed"
    assert not lab.file("b", "liver", SALIENCY).exists()
    assert lab.file("a", "liver", SALIENCY).exists()


def test_the_record_of_a_run_is_json_at_any_time(lab: Lab) -> None:
    text = (lab.root / "run.json").read_text()
    assert json.loads(text)["state"] == "complete"
    assert "NaN" not in text
