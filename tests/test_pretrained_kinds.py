"""One pretrained network by every kind of model: one prediction, and one saliency map."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from esegeta.config import load_config
from esegeta.explain import Saliency
from esegeta.targets import Scene
from esegeta.volume import read_case
from esegeta.workflow import build_experiment
from tests.bundles import compose, inference, write_bundle
from tests.closed import save_export

ROOT = Path(__file__).parents[1]
TORSO = ROOT / "data_samples" / "ct_torso"
ARGS = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [8, 16, 32, 32, 64],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "BATCH",
}
WINDOW = [48, 48, 32]
SPACING = [1.5, 1.5, 2.0]
RANGE = {"a_min": -57, "a_max": 164, "b_min": 0.0, "b_max": 1.0, "clip": True}
KEYS: dict[str, Any] = {
    "version": 1,
    "name": "spleen",
    "device": "cpu",
    "labels": {1: "spleen"},
    "data": {
        "cases": [{"name": "torso", "image": "ct.nii.gz"}],
        "preprocess": {
            "orientation": "RAS",
            "spacing_mm": SPACING,
            "intensity": {"window": [-57, 164]},
        },
    },
    "inference": {"window": WINDOW, "overlap": 0.25, "blend": "gaussian", "batch_size": 2},
    "targets": [{"name": "spleen", "label": "spleen", "of": "logit", "over": "all"}],
    "methods": ["saliency"],
}


def save_spleen(path: Path) -> None:
    """Write what lies around the spleen of the shipped CT."""
    image = nib.load(TORSO / "ct_torso.nii.gz")
    labels = np.asarray(nib.load(TORSO / "ct_torso_labels.nii.gz").dataobj)
    centre = np.argwhere(labels == 1).mean(0).round().astype(int)
    box = tuple(slice(max(c - 15, 0), c + 15) for c in centre)
    nib.save(image.slicer[box], path)


def kinds(folder: Path, pretrained: Path) -> dict[str, dict[str, Any]]:
    """Return the keys of each kind of model, of which those of a bundle say all but the data."""
    from monai.networks.nets import UNet

    weights = pretrained / "spleen_ct_unet.state_dict.pt"
    script = pretrained / "spleen_ct_unet.torchscript.pt"
    network = UNet(**ARGS)
    network.load_state_dict(torch.load(weights))
    save_export(network, (2, 1, *WINDOW), folder / "net.pt2", dynamic=(0,))
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": WINDOW, "sw_batch_size": 2,
               "overlap": 0.25, "mode": "gaussian"}  # fmt: skip
    steps = compose(
        {"_target_": "Orientationd", "axcodes": "RAS"},
        {"_target_": "Spacingd", "pixdim": SPACING, "mode": "bilinear"},
        {"_target_": "ScaleIntensityRanged", **RANGE},
    )
    config = inference(
        network_def={"_target_": "UNet", **ARGS}, inferer=inferer, preprocessing=steps
    )
    outputs = {"pred": {"channel_def": {"0": "background", "1": "spleen"}}}
    write_bundle(folder / "bundle", config, metadata={"network_data_format": {"outputs": outputs}})
    shutil.copy(weights, folder / "bundle" / "models" / "model.pt")
    bundled = {key: value for key, value in KEYS.items() if key not in ("labels", "inference")}
    return {
        "monai": {
            **KEYS,
            "model": {"kind": "monai", "network": "UNet", "args": ARGS, "weights": str(weights)},
        },
        "torchscript": {**KEYS, "model": {"kind": "torchscript", "path": str(script)}},
        "export": {**KEYS, "model": {"kind": "export", "path": "net.pt2"}},
        "bundle": {
            **bundled,
            "model": {"kind": "bundle", "path": "bundle"},
            "data": {"cases": KEYS["data"]["cases"]},
        },
    }


def by_kind(folder: Path, pretrained: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return logits and saliency map of the network as each kind of model."""
    save_spleen(folder / "ct.nii.gz")
    found: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = kinds(folder, pretrained)
    for kind, keys in files.items():
        path = folder / f"{kind}.yaml"
        path.write_text(yaml.safe_dump(keys), encoding="utf-8")
        experiment = build_experiment(load_config(path))
        case = experiment.cases[0]
        volume, _ = read_case(case, experiment.preprocess, experiment.reading)
        scene = Scene(experiment.predictor, volume)
        plan = experiment.targets[0]
        target = next(iter(plan.targets(scene, case, experiment.preprocess).values()))
        map_ = Saliency().explain(experiment.predictor, volume, target.freeze(scene))
        found[kind] = (scene.logits, map_.data)
    return found


@pytest.mark.slow
def test_every_kind_gives_one_prediction_and_one_saliency(pretrained: Path, tmp_path: Path) -> None:
    found = by_kind(tmp_path, pretrained)
    logits, saliency = found["monai"]
    assert bool((logits[0, 1] > logits[0, 0]).any())  # there is a spleen to explain
    for kind, (own, map_) in found.items():
        for one, other in ((own, logits), (map_, saliency)):
            assert one.shape == other.shape, kind
            assert float((one - other).abs().max()) <= 1e-5 * float(other.abs().max()), kind
