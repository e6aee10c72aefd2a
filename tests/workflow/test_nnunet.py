"""A folder of nnU-Net v2, explained as nnU-Net itself predicts with it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from esegeta.config import load_config
from esegeta.targets import Scene
from esegeta.workflow.build import Experiment, build_experiment
from tests.experiments import esegeta

pytest.importorskip("nnunetv2")

from tests import nnunet

TOLERANCE = 1e-4
"""Largest difference of logits, as a share of their range."""

REGIONS = nnunet.Dataset(
    channels=("T1", "FLAIR"),
    labels={"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
    regions_class_order=[1, 2],
    border=4,
)
COARSE = nnunet.Dataset(shape=(8, 22, 20), spacing_mm=(5.0, 1.0, 1.1), channels=("T2",))
OBLIQUE = (-1.0, 0, 0, 0, 0, 1, 0, 1, 0)
"""Axes that point to the left of RAS's first, with its second and third exchanged."""

KINDS: dict[str, tuple[nnunet.Dataset, dict[str, Any]]] = {
    "ct": (
        nnunet.Dataset(border=2),
        {
            "patch": (16, 16, 16),
            "folds": (0, 1),
            "shape": (29, 24, 21),
            "spacing_mm": (1.1, 1.2, 0.9),
        },
    ),
    "regions": (REGIONS, {"shape": (23, 25, 19)}),
    "coarse": (
        COARSE,
        {"patch": (8, 16, 20), "shape": (9, 27, 25), "spacing_mm": (4.1, 0.9, 1.3)},
    ),
    "slices": (
        COARSE,
        {
            "configuration": "2d",
            "patch": (16, 16),
            "shape": (7, 27, 25),
            "spacing_mm": (4.1, 0.9, 1.3),
        },
    ),
    "flat": (
        nnunet.Dataset(shape=(26, 30), spacing_mm=(1.0, 1.2), channels=("MR",)),
        {
            "configuration": "2d",
            "patch": (24, 16),
            "shape": (33, 29),
            "spacing_mm": (0.9, 1.4),
        },
    ),
    "picture": (
        nnunet.Dataset(
            shape=(32, 24), channels=("rgb_to_0_1", "zscore", "rescale_to_0_1"), ending=".png"
        ),
        {"configuration": "2d", "patch": (16, 24), "shape": (41, 35)},
    ),
    "nibabel": (
        nnunet.Dataset(reader="NibabelIO"),
        {"direction": OBLIQUE, "shape": (23, 17, 20)},
    ),
    "nibabel-ras": (
        nnunet.Dataset(reader="NibabelIOWithReorient"),
        {"direction": OBLIQUE, "shape": (23, 17, 20)},
    ),
    "itk-ras": (
        nnunet.Dataset(reader="SimpleITKIOWithReorient"),
        {"direction": OBLIQUE, "shape": (23, 17, 20)},
    ),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what nnU-Net makes of a kind of data set, once."""
    made: dict[str, nnunet.Trained] = {}

    def of(kind: str) -> nnunet.Trained:
        if kind not in made:
            dataset, how = KINDS[kind]
            made[kind] = nnunet.make(tmp_path_factory.mktemp(kind), dataset, **how)
        return made[kind]

    return of


def write_config(path: Path, found: nnunet.Trained, **keys: Any) -> Path:
    """Write a config that names the folder and the images, and nothing that the folder says."""
    content = {
        "name": "test",
        "output": str(path.parent / "out"),
        "device": "cpu",
        "model": {"kind": "nnunet", "path": str(found.folder)},
        "data": {"cases": [{"name": "case", "image": [str(image) for image in found.images]}]},
        "targets": [{"name": "all", "label": None, "over": "all"}],
        "methods": ["saliency"],
        **keys,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def build(path: Path) -> Experiment:
    return build_experiment(load_config(path))


def first_label(found: nnunet.Trained) -> str:
    """Return the name of a label that the network predicts."""
    return "whole" if "whole" in (found.folder / "dataset.json").read_text() else "liver"


def with_target(found: nnunet.Trained) -> dict[str, Any]:
    return {"targets": [{"name": "t", "label": first_label(found)}]}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_prediction_is_that_of_nnunet(kind: str, trained: Any, tmp_path: Path) -> None:
    found = trained(kind)
    theirs = nnunet.predict(found.folder, found.images, folds=found.folds)

    experiment = build(write_config(tmp_path / "c.yaml", found, **with_target(found)))
    volume, _ = experiment.read(experiment.cases[0])
    scene = Scene(experiment.predictor, volume)
    logits = scene.logits[0].numpy()
    label_map = scene.on_source("logits").label_map.numpy()

    data = theirs.data.reshape(volume.data.shape if volume.data.ndim == 3 else theirs.data.shape)
    assert volume.data.shape == data.shape
    assert np.abs(volume.data.numpy() - data).max() < 1e-5 * np.ptp(data)
    assert len(experiment.predictor.plan.passes) > len(found.folds)  # mirrored, as trained
    assert logits.size == theirs.logits.size
    difference = np.abs(logits - theirs.logits.reshape(logits.shape))
    assert difference.max() < TOLERANCE * np.ptp(theirs.logits)
    assert len(np.unique(theirs.label_map)) > 1
    assert np.array_equal(label_map, theirs.label_map)


@pytest.mark.slow
def test_predictions_differ_from_nnunet_only_by_its_half_precision(
    trained: Any, tmp_path: Path
) -> None:
    found = trained("ct")
    theirs = nnunet.predict(found.folder, found.images, folds=found.folds, half=True)
    experiment = build(write_config(tmp_path / "c.yaml", found, **with_target(found)))
    volume, _ = experiment.read(experiment.cases[0])
    ours = Scene(experiment.predictor, volume).on_source("logits").label_map.numpy()
    for label in (1, 2):
        both = ((ours == label) & (theirs.label_map == label)).sum()
        each = (ours == label).sum() + (theirs.label_map == label).sum()
        assert each == 0 or 2 * both / each > 0.99


@pytest.mark.slow
def test_keys_of_the_config_override_the_folder(trained: Any, tmp_path: Path) -> None:
    found = trained("ct")
    theirs = nnunet.predict(found.folder, found.images, folds=[1], mirror=False)
    path = write_config(
        tmp_path / "c.yaml",
        found,
        model={"kind": "nnunet", "path": str(found.folder.parent), "folds": [1]},
        inference={"mirror": [], "batch_size": 2},
        **with_target(found),
    )
    experiment = build(path)
    volume, _ = experiment.read(experiment.cases[0])
    logits = Scene(experiment.predictor, volume).logits[0].numpy()
    assert len(experiment.predictor.plan.passes) == 1
    assert np.abs(logits - theirs.logits).max() < TOLERANCE * np.ptp(theirs.logits)


@pytest.mark.slow
def test_run_explains_what_nnunet_predicts(trained: Any, tmp_path: Path) -> None:
    """The command line: the prediction agrees with nnU-Net's file, the map with its gradient."""
    found = trained("coarse")
    theirs = nnunet.predict(found.folder, found.images, mirror=False)
    case = {"name": "case", "image": str(found.images[0]), "expected": str(theirs.file)}
    path = write_config(
        tmp_path / "c.yaml",
        found,
        data={"cases": [case]},
        inference={"mirror": []},
        targets=[{"name": "t", "label": "liver"}],
    )
    result = esegeta("run", path)
    assert result.exit_code == 0, result.output

    out = tmp_path / "out" / "test"
    written = next(out.rglob("*_desc-prediction_dseg.nii.gz"))
    assert np.array_equal(np.asarray(nib.load(written).dataobj), theirs.label_map)
    with (out / "predictions.csv").open() as stream:
        dice = {row["label"]: row["dice"] for row in csv.DictReader(stream)}
    assert float(dice["liver"]) == 1.0
    shown = nib.load(next(out.rglob("*_desc-saliency_attrmap.nii.gz")))
    assert shown.shape == theirs.label_map.shape
    assert np.abs(np.asarray(shown.dataobj)).max() > 0


@pytest.mark.slow
def test_gradient_is_that_of_nnunets_network(trained: Any, tmp_path: Path) -> None:
    """One window: the map is the gradient of the network that nnunetv2 itself builds."""
    found = trained("nibabel")
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    with nnunet.quiet():
        theirs = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        theirs.initialize_from_trained_model_folder(str(found.folder), (0,))
    size = theirs.configuration_manager.patch_size
    experiment = build(write_config(tmp_path / "c.yaml", found, **with_target(found)))
    x = torch.randn((1, 1, *size), generator=torch.Generator().manual_seed(0))
    ours, own = x.clone().requires_grad_(), x.clone().requires_grad_()
    experiment.predictor.network(ours).square().sum().backward()
    theirs.network.eval()(own).square().sum().backward()
    assert ours.grad is not None and own.grad is not None
    assert torch.allclose(ours.grad, own.grad, rtol=1e-5, atol=1e-6 * float(own.grad.abs().max()))


@pytest.mark.slow
def test_shipped_folder_segments_the_sample() -> None:
    root = Path(__file__).parents[2]
    experiment = build(root / "configs" / "nnunet.yaml")
    volume, _ = experiment.read(experiment.cases[0])
    ours = Scene(experiment.predictor, volume).on_source("logits").label_map.numpy()
    truth = nib.load(root / "data_samples" / "ct_torso" / "ct_torso_labels.nii.gz")
    labels = np.asarray(truth.dataobj)
    for label in experiment.config.keys.labels:
        both = ((ours == label) & (labels == label)).sum()
        assert 2 * both / ((ours == label).sum() + (labels == label).sum()) > 0.93
