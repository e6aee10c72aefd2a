"""Ground truths of other integers than any label's are refused before anything is computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.experiments import Lab, esegeta, pointwise_lab, refused, save_image, voxels


def truth_of(lab: Lab, case: int, integer: int, name: str) -> None:
    image = voxels(lab.folder / "a.nii.gz")
    save_image(lab.folder / name, ((image > 0) * integer).astype(np.uint8))
    lab.keys["data"]["cases"][case]["label"] = name


@pytest.mark.parametrize("command", ["validate", "run", "predict"])
def test_a_mask_of_0_and_255_is_refused_at_its_line(tmp_path: Path, command: str) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    truth_of(lab, 0, 255, "mask.nii.gz")
    result = esegeta(command, lab.write())
    refused(result, lab, "a: ", "the label map holds 0, 255, but none of the labels (liver 1)")
    assert f"tiny.yaml:{lab.line_of('mask.nii.gz')}: " in " ".join(result.stderr.split())
    assert not lab.root.exists()


def test_ground_truths_are_checked_up_to_a_limit_of_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    lab.keys["data"]["cases"] = [{"name": name, "image": "a.nii.gz"} for name in "abc"]
    truth_of(lab, 1, 1, "right.nii.gz")
    truth_of(lab, 2, 255, "wrong.nii.gz")
    refused(lab.validate(), lab, "c: ", "wrong.nii.gz", "0, 255")
    voxels_each = voxels(tmp_path / "a.nii.gz").size
    monkeypatch.setattr("esegeta.workflow.case_checks.VOXELS_READ", 2 * voxels_each - 1)
    assert lab.validate().exit_code == 0
    # The first is always read.
    truth_of(lab, 0, 255, "first.nii.gz")
    refused(lab.validate(), lab, "a: ", "first.nii.gz", "0, 255")
