"""Slices: 2D images across the x-y plane, and volumes of one slice."""

from pathlib import Path

import numpy as np
import pytest

from tests.experiments import noise, save_image, unet_lab

CORONAL = np.array([[2.0, 0, 0, 5], [0, 0, 1, 0], [0, 2.0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("shape", "affine"),
    [((12, 10), CORONAL), ((12, 10, 1), np.diag([2.0, 2, 3, 1]))],
    ids=["a coronal 2D slice", "a volume of one slice"],
)
@pytest.mark.slow
def test_slices_run_through(shape: tuple[int, ...], affine: np.ndarray, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=(12, 10), ndim=2)
    for path in tmp_path.glob("*.nii.gz"):
        save_image(path, noise(shape), affine)
    lab.keys["data"].pop("preprocess", None)
    box = [[2, 2, 0][: len(shape)], [9, 9, 1][: len(shape)]]
    lab.keys["targets"] = [{"name": "part", "label": 1, "box": box}]
    result = lab.run()
    assert result.exit_code == 0, result.output
    assert lab.record()["state"] == "complete"
