"""What shows only while computing fails its tasks; the rest goes on, and all of it is told."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esegeta.explain import InputXGradient, RawMap, Saliency
from tests.builders import affine_of
from tests.experiments import Lab, noise, pointwise_lab, save_image

METHODS = ["saliency", "input_x_gradient"]


def threshold_lab(folder: Path, cases: int = 2) -> Lab:
    """A voxel is liver where it is above zero; the logit of liver is its value."""
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=cases)
    lab.keys["methods"] = list(METHODS)
    lab.keys["scores"] = [{"name": "infidelity", "samples": 2}]
    return lab


def tear(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def spoil(value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        array = noise()
        array[3, 2, 5] = array[4, 2, 5] = value
        save_image(path, array)

    return change


def darken(path: Path) -> None:
    save_image(path, -1 - np.abs(noise()))


MM = affine_of("anisotropic") @ (3, 2, 5, 1)

DAMAGES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "torn": (tear, ("b.nii.gz: the file is damaged", "(12, 11, 9)", "copy or export it again")),
    "nan": (
        spoil(np.nan),
        (
            "b.nii.gz: 2 voxels are NaN or Inf",
            "voxel (3, 2, 5)",
            f"({MM[0]:.1f}, {MM[1]:.1f}, ",
            "data: {nan: zero}",
        ),
    ),
    "inf": (spoil(np.inf), ("2 voxels are NaN or Inf", "voxel (3, 2, 5)")),
    "empty target": (darken, ('b: no voxel of label "liver" over: predicted', "`over: all`")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_one_bad_case_of_two_fails_and_the_other_is_explained(damage: str, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    change, fragments = DAMAGES[damage]
    change(tmp_path / "b.nii.gz")
    result = lab.run()
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    tasks = {(case, "liver", method): case for case in "ab" for method in METHODS}
    assert lab.statuses() == {
        task: "done" if case == "a" else "failed" for task, case in tasks.items()
    }
    assert lab.record()["state"] == "incomplete"
    (message,) = {task["message"] for task in lab.record()["units"] if task["case"] == "b"}
    for fragment in fragments:
        assert fragment in message
    assert message in result.stdout
    for method in METHODS:
        assert f"b / liver / {method}: {message}" in result.stderr
    assert "2 done, 0 skipped, 2 failed" in result.stdout
    assert {row["case"] for row in lab.scores()} == {"a"}
    assert len(lab.maps()) == 2
    assert not any(name.startswith("b") for name in lab.maps())
    assert lab.leftovers() == []


def test_quiet_prints_failures_only(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    darken(tmp_path / "b.nii.gz")
    result = lab.run("-q")
    assert result.stdout == ""
    heading, *lines = result.stderr.splitlines()
    assert heading == "failures:"
    starts = [f'  b / liver / {method}: b: no voxel of label "liver"' for method in METHODS]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_exit_code_is_2_if_all_tasks_fail_by_user_errors(damage: str, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path, cases=1)
    DAMAGES[damage][0](tmp_path / "a.nii.gz")
    result = lab.run()
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    if damage != "empty target":  # which only the run can know
        assert DAMAGES[damage][1][-1].replace("b.nii.gz", "a.nii.gz") in result.stderr
        assert not lab.root.exists()
        return
    assert set(lab.statuses().values()) == {"failed"}
    assert lab.record()["state"] == "failed"
    assert lab.maps() == {}
    assert lab.scores() == []
    assert lab.leftovers() == []


def test_a_gzip_file_without_its_end_is_refused_though_its_voxels_are_complete(
    tmp_path: Path,
) -> None:
    lab = threshold_lab(tmp_path, cases=1)
    path = tmp_path / "a.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-8])
    assert lab.run().exit_code == 2
    path.write_bytes(gzip.compress(gzip.decompress(content)))
    assert lab.run().exit_code == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.slow
def test_nan_is_replaced_by_zero_if_configured(value: float, tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path, cases=1)
    spoil(value)(tmp_path / "a.nii.gz")
    lab.keys["data"]["nan"] = "zero"
    assert lab.run().exit_code == 0
    expected = noise() > 0
    expected[3:5, 2, 5] = False
    np.testing.assert_array_equal(lab.segmentation("a") == 1, expected)
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), expected, atol=1e-6)


def failing(monkeypatch: pytest.MonkeyPatch, kind: type, error: Exception) -> None:
    def attribute(self: Any, objective: Any) -> RawMap:
        raise error

    monkeypatch.setattr(kind, "attribute", attribute)


@pytest.mark.slow
def test_a_bug_keeps_its_traceback_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, Saliency, RuntimeError("wires crossed"))
    lab = threshold_lab(tmp_path)
    result = lab.run()
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "RuntimeError: wires crossed" in result.stderr
    assert lab.statuses() == {
        (case, "liver", method): "failed" if method == "saliency" else "done"
        for case in "ab"
        for method in METHODS
    }
    task = lab.record()["units"][0]
    assert task["message"] == "RuntimeError: wires crossed"
    assert "in attribute" in task["traceback"]
    assert {row["method"] for row in lab.scores()} == {"input_x_gradient"}


def test_a_bug_in_all_tasks_exits_with_1(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(monkeypatch, Saliency, RuntimeError("wires crossed"))
    failing(monkeypatch, InputXGradient, RuntimeError("wires crossed"))
    assert threshold_lab(tmp_path, cases=1).run().exit_code == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 3 GiB")]
)
def test_running_out_of_memory_says_what_to_lower(
    error: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(monkeypatch, Saliency, error)
    lab = threshold_lab(tmp_path, cases=1)
    result = lab.run()
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "lower inference.batch_size" in lab.record()["units"][0]["message"]


def test_fail_fast_stops_at_the_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failing(monkeypatch, InputXGradient, RuntimeError("wires crossed"))
    lab = threshold_lab(tmp_path)
    result = lab.run("--fail-fast")
    assert result.exit_code == 1
    assert lab.statuses() == {
        ("a", "liver", "saliency"): "done",
        ("a", "liver", "input_x_gradient"): "failed",
    }
    assert "stopped at the first failure" in result.stdout
    assert lab.record()["state"] == "incomplete"
    assert {row["method"] for row in lab.scores()} == {"saliency"}


def test_an_empty_target_fails_while_the_other_is_explained(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path, cases=1)
    lab.keys["targets"].append({"name": "far", "label": "liver", "component": 99})
    result = lab.run()
    assert result.exit_code == 1
    assert {key[1]: status for key, status in lab.statuses().items()} == {
        "liver": "done",
        "far": "failed",
    }
    assert 'no voxel of label "liver" over: component #99' in result.stdout


def test_a_case_without_ground_truth_fails_the_target_that_needs_it(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    save_image(tmp_path / "a_truth.nii.gz", (noise() > 1).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "a_truth.nii.gz"
    lab.keys["targets"] = [{"name": "missed", "label": "liver", "over": "false_positive"}]
    result = lab.run()
    assert result.exit_code == 1
    assert "b: over: label needs a ground truth and the case has none" in result.stdout
    expected = (noise() > 0) & (noise() <= 1)
    np.testing.assert_allclose(lab.map("a", "missed", "saliency"), expected, atol=1e-6)


def test_no_case_with_ground_truth_is_refused_at_once(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    lab.keys["targets"] = [{"name": "missed", "label": "liver", "over": "false_positive"}]
    result = lab.run()
    assert result.exit_code == 2
    assert "the target needs a ground truth and no case has one" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_failed_tasks_are_done_by_the_next_run(tmp_path: Path) -> None:
    lab = threshold_lab(tmp_path)
    darken(tmp_path / "b.nii.gz")
    assert lab.run().exit_code == 1
    save_image(tmp_path / "b.nii.gz", noise(seed=1))
    assert lab.run().exit_code == 0
    assert lab.statuses() == {
        (case, "liver", method): "skipped" if case == "a" else "done"
        for case in "ab"
        for method in METHODS
    }
