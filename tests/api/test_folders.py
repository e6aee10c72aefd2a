"""Folders of nnU-Net and MONAI from Python: bit for bit what a config of the folder gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import esegeta
from esegeta.config import load_config
from esegeta.errors import ConfigError
from esegeta.predict import Predictor
from esegeta.targets import Scene
from esegeta.volume import read_case
from esegeta.workflow import build_experiment
from tests.bundles import bundle_lab, run_itself, write_bundle
from tests.experiments import noise, save_image
from tests.nnunet_folder import Results, write_nnunet_config

SHAPE = (14, 12, 10)


def written(tmp_path: Path, model: dict[str, Any], **keys: Any) -> Path:
    target = {"name": "t", "label": "liver", "over": "all"}
    given = {"targets": [target], "device": "cpu", "output": str(tmp_path / "out"), **keys}
    path = write_nnunet_config(tmp_path, model, **given)
    save_image(tmp_path / "ct.nii.gz", 40 * noise(SHAPE))
    return path


def bundle(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    write_bundle(tmp_path / "bundle")
    model = esegeta.load_bundle(tmp_path / "bundle", device="cpu")
    return model, {"kind": "bundle", "path": str(tmp_path / "bundle")}


def nnunet(tmp_path: Path) -> tuple[Any, dict[str, Any]]:
    pytest.importorskip("dynamic_network_architectures")
    folder = Results(tmp_path / "results").write()
    model = esegeta.load_nnunet(tmp_path / "results", folds=[1, 0], device="cpu")
    return model, {"kind": "nnunet", "path": str(folder), "folds": [1, 0]}


@pytest.mark.parametrize("load", [bundle, nnunet])
@pytest.mark.slow
def test_a_loaded_folder_equals_its_config(
    tmp_path: Path, load: Callable[[Path], tuple[Any, dict[str, Any]]]
) -> None:
    model, keys = load(tmp_path)
    experiment = build_experiment(load_config(written(tmp_path, keys)))
    wanted, _ = read_case(experiment.cases[0], experiment.preprocess, experiment.reading)
    image = model.load_volume(tmp_path / "ct.nii.gz")
    assert torch.equal(image.data, wanted.data)
    assert torch.equal(model.logits(image.batch), experiment.predictor.logits(wanted.batch))
    rule = experiment.config.keys.prediction.resample
    theirs = Scene(experiment.predictor, wanted).on_source(rule).label_map
    found = model.predict(image)
    assert torch.equal(found, theirs)
    assert len(found.unique()) > 1
    assert isinstance(model, Predictor)
    assert np.array_equal(image.affine, wanted.affine)


def test_an_image_is_prepared_as_the_folder_says(tmp_path: Path) -> None:
    model, keys = bundle(tmp_path)
    experiment = build_experiment(load_config(written(tmp_path, keys)))
    wanted, _ = read_case(experiment.cases[0], experiment.preprocess, experiment.reading)
    for given in (tmp_path / "ct.nii.gz", [str(tmp_path / "ct.nii.gz")]):
        image = model.load_volume(given)
        assert torch.equal(image.data, wanted.data) and image.name == "ct"
    assert model.load_volume(tmp_path / "ct.nii.gz", name="mine").name == "mine"


def test_mirroring_may_be_left_out(tmp_path: Path) -> None:
    pytest.importorskip("dynamic_network_architectures")
    folder = Results(tmp_path, folds=(0,)).write()
    assert len(esegeta.load_nnunet(folder, device="cpu").plan.passes) == 8
    assert len(esegeta.load_nnunet(folder, mirror=(), device="cpu").plan.passes) == 1


def test_an_automatic_batch_size_of_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esegeta.workflow.room.free_bytes", lambda device: 1e12)
    write_bundle(tmp_path / "bundle")
    model = esegeta.load_bundle(tmp_path / "bundle", device="cpu", batch_size="auto")
    assert model.batch_size == 4
    assert any(note.startswith("batch_size: auto: 4 windows") for note in model.notes)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"load_nnunet: model: .*holds no trained nnU-Net"):
        esegeta.load_nnunet(tmp_path)
    with pytest.raises(ConfigError, match=r"load_bundle: model: .*no configs/inference\.json"):
        esegeta.load_bundle(tmp_path)


def test_a_bundle_prepares_images_as_its_own_workflow_does(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    path = lab.folder / "a.nii.gz"
    model = esegeta.load_bundle(lab.folder / "bundle", device="cpu")
    image = model.load_volume(path, name="mine")
    _, theirs = run_itself(lab.folder / "bundle", {"image": path})
    torch.testing.assert_close(image.data, theirs["image"].as_tensor(), rtol=0, atol=1e-4)
    assert image.name == "mine"


def test_a_network_alone_cannot_load_volumes(tmp_path: Path) -> None:
    network = torch.nn.Conv3d(1, 2, 1)
    model = esegeta.load_model(network, window=(4, 4, 4), labels={1: "liver"}, device="cpu")
    with pytest.raises(ConfigError, match=r"use esegeta\.load_volume"):
        model.load_volume(tmp_path / "ct.nii.gz")
