"""Label maps on the grid of the file: predicted, saved, compared, and loaded as a truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import esegeta
from esegeta.errors import ConfigError, DataError, GridError
from tests.api.thresholding import SHAPE
from tests.builders import affine_of
from tests.experiments import voxels
from tests.volume.files import geometry_bytes, save_nifti


def test_a_label_map_preprocessed_unlike_its_image_is_refused(path: Path, tmp_path: Path) -> None:
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    labels = (voxels(path) > 50).astype(np.int16)
    truth = save_nifti(tmp_path / "seg.nii.gz", labels, **forms)
    turned = esegeta.load_volume(path, orientation="LPS")
    with pytest.raises(GridError, match="not loaded with this orientation and spacing_mm; give"):
        esegeta.load_label_map(truth, turned, orientation="RAS")
    plain = esegeta.load_volume(path)
    torch.testing.assert_close(
        esegeta.load_label_map(truth, plain), (plain.data[0] > 50).long(), check_dtype=False
    )
    with pytest.raises(GridError, match=r"voxels, but the volume has 12x10x9; give orientation"):
        esegeta.load_label_map(truth, plain, spacing_mm=(3.0, 3.0, 3.0))


@pytest.mark.slow
def test_label_maps_of_files_come_onto_the_volumes_grid(
    model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    labels = (voxels(path) > 50).astype(np.int16)
    truth_path = save_nifti(tmp_path / "seg.nii.gz", labels, **forms)
    plain = esegeta.load_volume(path)
    truth = esegeta.load_label_map(truth_path, plain)
    torch.testing.assert_close(truth, (plain.data[0] > 50).long())
    keys = {"orientation": "LPS", "spacing_mm": (3.0, 3.0, 3.0)}
    image = esegeta.load_volume(path, **keys)
    moved = esegeta.load_label_map(str(truth_path), image, **keys)
    assert moved.shape == image.data.shape[1:]
    model.freeze(model.target("liver", over="label"), image, truth=moved)
    # The volume knows the way that it went: nothing has to be repeated, and nothing contradicted.
    torch.testing.assert_close(esegeta.load_label_map(truth_path, image), moved)
    with pytest.raises(GridError, match="as for the image"):
        esegeta.load_label_map(truth_path, image, spacing_mm=(2.0, 3.0, 3.0))
    with pytest.raises(GridError, match="as for the image"):
        esegeta.load_label_map(truth_path, plain, **keys)


@pytest.mark.parametrize("keys", [{"spacing_mm": (2.0, 3.0, 3.0)}, {"orientation": "RAS"}])
def test_loading_a_label_map_with_other_steps_than_its_volume_is_refused(
    keys: dict[str, Any], path: Path, tmp_path: Path
) -> None:
    forms = {"sform": affine_of("sheared"), "qform": affine_of("oblique")}
    truth = save_nifti(tmp_path / "seg.nii.gz", (voxels(path) > 50).astype(np.int16), **forms)
    image = esegeta.load_volume(path, orientation="LPS", spacing_mm=(3.0, 3.0, 3.0))
    with pytest.raises(GridError, match="not loaded with this orientation and spacing_mm; give"):
        esegeta.load_label_map(truth, image, **keys)
    whole = esegeta.load_volume(path)
    unmoved = esegeta.volume_from_tensor(whole.data, affine=whole.grid.affine)
    assert esegeta.load_label_map(truth, unmoved).shape == whole.grid.shape


def test_a_prediction_lies_on_the_grid_of_the_file(
    model: esegeta.SegmentationModel, path: Path, tmp_path: Path
) -> None:
    image = esegeta.load_volume(path, orientation="LPS")
    found = model.predict(image)
    np.testing.assert_array_equal(found, voxels(path) > 0)
    saved = tmp_path / "seg.nii.gz"
    esegeta.save_label_map(saved, found, image)
    np.testing.assert_array_equal(voxels(saved), voxels(path) > 0)
    assert geometry_bytes(saved) == geometry_bytes(path)
    assert model.compare(image, saved) == {"liver": 1.0}
    assert model.compare(image, str(saved)) == {"liver": 1.0}
    other = found.roll(1, 0)
    dice = 2 * int((found & other).sum()) / int(found.sum() + other.sum())
    assert model.compare(image, other) == {"liver": pytest.approx(dice)}
    assert model.compare(image, (other > 0).float()) == {"liver": pytest.approx(dice)}


def test_a_prediction_of_another_spacing_is_decided_on_the_grid_of_the_file(
    model: esegeta.SegmentationModel, path: Path
) -> None:
    image = esegeta.load_volume(path, spacing_mm=(2.0, 2.0, 2.0))
    found = {rule: model.predict(image, resample=rule) for rule in ("logits", "labels")}
    assert found["logits"].shape == found["labels"].shape == SHAPE
    assert not torch.equal(found["logits"], found["labels"])
    assert model.compare(image, found["labels"])["liver"] < 0.99
    assert model.compare(image, found["labels"], resample="labels") == {"liver": 1.0}


def test_label_maps_on_other_grids_cannot_be_compared(
    model: esegeta.SegmentationModel, path: Path
) -> None:
    image = esegeta.load_volume(path, spacing_mm=(2.0, 2.0, 2.0))
    on_network = torch.zeros(image.grid.shape, dtype=torch.long)
    with pytest.raises(GridError, match="but the image's file has 12x10x9"):
        model.compare(image, on_network)
    with pytest.raises(GridError, match="but the image's file has 12x10x9"):
        esegeta.save_label_map("x.nii.gz", on_network, image)
    with pytest.raises(DataError, match="holds 7; the labels are 0, 1"):
        model.compare(image, torch.full(SHAPE, 7))
    with pytest.raises(DataError, match="must hold integers"):
        model.compare(image, torch.full(SHAPE, 0.5))
    with pytest.raises(ConfigError, match='did you mean "logits"'):
        model.predict(image, resample="logit")
