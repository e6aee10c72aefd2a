"""Volumes from Python: steps as in a config, several files, tensors."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import esegeta
from esegeta.errors import ConfigError, DataError
from tests.api.thresholding import SHAPE
from tests.builders import linear
from tests.experiments import noise, save_image
from tests.volume.files import save_nifti


def test_volumes_are_loaded_as_a_config_says(tmp_path: Path) -> None:
    array = np.zeros((9, 8, 7), dtype=np.float32)
    array[2:7, 1:6, 3:6] = noise((5, 5, 3)) + 5
    path = save_nifti(tmp_path / "head.nii.gz", array)
    truth_path = save_nifti(tmp_path / "seg.nii.gz", (array > 5).astype(np.int16))
    image = esegeta.load_volume(
        path,
        intensity=[{"clip": [4, 6], "when": "before_resampling"}, {"rescale": [-1, 1]}],
        spacing_mm=(None, 3.1, 1.4),
        order=3,
        separate_axis="auto",
        crop={"margin": 1},
        crop_or_pad={"size": [7, 6, 9], "value": -2},
        transpose=(1, 2, 0),
    )
    preprocess = esegeta.Preprocess(
        spacing_mm=(None, 3.1, 1.4),
        intensity=esegeta.intensity_of(
            [{"clip": [4, 6], "when": "before_resampling"}, {"rescale": [-1, 1]}]
        ),
        order=3,
        separate_axis="auto",
        crop=esegeta.Crop(margin=1),
        crop_or_pad=esegeta.CropOrPad((7, 6, 9), -2.0),
        transpose=(1, 2, 0),
    )
    raw = esegeta.load_volume(path)
    assert image.grid.shape == (7, 6, 9)
    assert torch.equal(image.data, preprocess(raw).data)
    assert esegeta.load_label_map(truth_path, image).shape == image.grid.shape
    # Slopes come back to the voxels of the file, and there is none beyond the crop.
    slopes = preprocess.adjoint(torch.ones_like(image.data), raw)
    assert slopes.shape == raw.data.shape
    outside = torch.ones(9, 8, 7, dtype=torch.bool)
    outside[1:8, 0:7, 2:7] = False
    assert not slopes[0, outside].any()
    with pytest.raises(ConfigError, match='did you mean "foreground"'):
        esegeta.load_volume(path, crop="foregound")


def test_volumes_of_several_files_and_of_tensors(tmp_path: Path) -> None:
    for name in ("t1", "t2"):
        save_image(tmp_path / f"{name}.nii.gz", noise(SHAPE, seed=len(name)))
    volume = esegeta.load_volume([tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz"])
    assert volume.data.shape == (2, *SHAPE)
    with pytest.raises(DataError, match="no such file"):
        esegeta.load_volume(tmp_path / "t3.nii.gz")
    model = esegeta.load_model(
        linear(3, in_channels=2), window=(8, 8, 8), labels={1: "liver"}, device="cpu"
    )
    memory = esegeta.volume_from_tensor(volume.data, (0.7, 1.9, 3.1))
    maps = [
        esegeta.Saliency().explain(model, image, model.target(1, over="all"))
        for image in (volume, memory)
    ]
    torch.testing.assert_close(maps[0].data, maps[1].data)
    saved = maps[1].save(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(nib.load(saved).header.get_zooms(), (0.7, 1.9, 3.1), rtol=1e-6)
