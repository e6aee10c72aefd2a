"""What lets no task succeed is refused before anything is written; one bad case spoils no other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.experiments import noise, save_image, unet_lab

SHAPE = (9, 8, 8)


def spoil(path: Path, value: float) -> None:
    array = noise(SHAPE)
    array[0, 0, 0] = value
    save_image(path, array)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_run_with_only_non_finite_images_writes_nothing(value: float, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=SHAPE)
    spoil(tmp_path / "a.nii.gz", value)
    for result in (lab.run(), lab.validate()):
        assert result.exit_code == 2
        assert f"{lab.config}:" in result.output
        assert "1 voxels are NaN or Inf" in result.output
    assert not lab.root.exists()


def test_other_cases_are_done_beside_a_non_finite_image(tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=SHAPE, cases=2)
    lab.keys["methods"] = ["saliency"]
    spoil(tmp_path / "a.nii.gz", np.nan)
    assert lab.validate().exit_code == 2
    assert lab.run().exit_code == 1
    assert {case: status for (case, *_), status in lab.statuses().items()} == {
        "a": "failed",
        "b": "done",
    }


@pytest.mark.parametrize("value", [torch.nan, 1e300])
def test_a_run_with_non_finite_weights_writes_nothing(value: float, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path, shape=SHAPE)
    state = {key: one.double() for key, one in load_file(tmp_path / "w.safetensors").items()}
    state["model.0.conv.weight"].fill_(value)
    save_file(state, tmp_path / "w.safetensors")
    for result in (lab.run(), lab.validate()):
        assert result.exit_code == 2
        assert "model.0.conv.weight" in result.output
        assert "not finite in float32" in result.output
    assert not lab.root.exists()
