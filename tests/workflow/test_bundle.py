"""Bundles: the prediction is that of the bundle's own workflow; what is not mapped is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.volume import read_case
from esegeta.workflow import build_experiment
from tests.builders import unet
from tests.bundles import (
    ARGS,
    CLIPPED,
    FOREGROUND,
    METADATA,
    ORIENT,
    POST,
    RANGE,
    READ,
    SHAPE,
    SIZE,
    SPACE,
    bundle_lab,
    compose,
    decide_itself,
    inference,
    run_itself,
)
from tests.experiments import Lab, esegeta, noise, read_json, save_image


def our_logits(lab: Lab) -> torch.Tensor:
    experiment = build_experiment(load_config(lab.write()))
    volume, _ = read_case(experiment.cases[0], experiment.preprocess, experiment.reading)
    return experiment.predictor.logits(volume.batch)[0]


def same_logits(found: torch.Tensor, wanted: torch.Tensor) -> None:
    assert found.shape == wanted.shape
    scale = float(wanted.abs().max())
    assert float((found - wanted).abs().max()) < 1e-5 * scale


CHAINS: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "window": [ORIENT, SPACE, CLIPPED],
    "closest canonical": [{"_target_": "Orientationd", "as_closest_canonical": True}, CLIPPED],
    "aligned corners": [{**SPACE, "align_corners": True}, CLIPPED],
    "nearest": [ORIENT, {**SPACE, "mode": "nearest"}],
    "one spacing kept": [ORIENT, {**SPACE, "pixdim": [1.5, -1, 2.0]}],
    "range without clip": [ORIENT, SPACE, {**RANGE, "b_min": -2, "b_max": 3}],
    "range from -1 to 1": [ORIENT, SPACE, {**RANGE, "b_min": -1, "b_max": 1, "clip": True}],
    "range without bounds": [ORIENT, SPACE, RANGE],
    "intensity first": [CLIPPED, SPACE],
    "z-score": [ORIENT, SPACE, {"_target_": "NormalizeIntensityd", "channel_wise": True}],
    "z-score of nonzero": [{"_target_": "NormalizeIntensityD", "nonzero": True}, SPACE],
    "fixed z-score": [SPACE, {"_target_": "NormalizeIntensityd", "subtrahend": 0.3, "divisor": 2}],
    "minmax": [SPACE, {"_target_": "ScaleIntensityd"}],
    "rescale": [SPACE, {"_target_": "ScaleIntensityDict", "minv": -1, "maxv": 1}],
    "factor": [SPACE, {"_target_": "ScaleIntensityd", "minv": None, "maxv": None, "factor": 0.5}],
    "percentiles": [
        {
            "_target_": "monai.transforms.ScaleIntensityRangePercentilesd",
            "lower": 5,
            "upper": 95,
            "b_min": -1,
            "b_max": 1,
            "clip": True,
        }
    ],
    "clip": [{"_target_": "ThresholdIntensityd", "threshold": 1, "above": False, "cval": 1}],
    "clip below": [{"_target_": "ThresholdIntensityd", "threshold": -1, "cval": -1}, RANGE],
    "shift": [{"_target_": "ShiftIntensityd", "offset": 3.0}],
    "crop": [ORIENT, {**FOREGROUND, "margin": 1, "allow_smaller": True}, SPACE, CLIPPED],
    "crop behind a window": [ORIENT, SPACE, CLIPPED, FOREGROUND],
    "crop behind a range": [SPACE, {**RANGE, "b_min": -1, "b_max": 1, "clip": True}, FOREGROUND],
    "crop behind two": [RANGE, {"_target_": "ShiftIntensityd", "offset": -0.9}, FOREGROUND],
    "crop before an early window": [CLIPPED, FOREGROUND, SPACE],
    "size": [SPACE, CLIPPED, {**SIZE, "value": -0.5}],
}


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS)
def test_logits_are_those_of_the_bundles_own_workflow(chain: str, tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path, inference(preprocessing=compose(*CHAINS[chain])))
    wanted, _ = run_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})
    same_logits(our_logits(lab), wanted)


def test_padding_to_the_window_equals_the_padding_of_windows(tmp_path: Path) -> None:
    pad = {"_target_": "SpatialPadd", "spatial_size": [8, 8, 8]}
    chain = [ORIENT, {**SPACE, "pixdim": [4, 4, 4]}, CLIPPED, pad]
    lab = bundle_lab(tmp_path, inference(preprocessing=compose(*chain)))
    padded, _ = run_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})
    found = our_logits(lab)
    assert (padded.shape[1], found.shape[1]) == (8, 3)
    same_logits(found, padded[:, 2:5])  # 5 // 2 voxels before, the rest behind


INFERERS: dict[str, dict[str, Any]] = {
    "defaults": {"roi_size": [8, 8, 8]},
    "one length": {"roi_size": 8, "sw_batch_size": 4, "overlap": 0.25, "mode": "constant"},
    "overlap by axis": {"roi_size": [8, 12, 8], "overlap": [0.5, 0.25, 0], "mode": "gaussian"},
    "larger than the image": {"roi_size": [32, 8, 8], "mode": "gaussian"},
    "replicated edge": {"roi_size": [32, 8, 8], "padding_mode": "replicate"},
    "reflected": {"roi_size": [12, 24, 8], "padding_mode": "reflect"},
}


@pytest.mark.parametrize("name", INFERERS)
def test_windows_are_those_of_the_bundles_inferer(name: str, tmp_path: Path) -> None:
    inferer = {"_target_": "SlidingWindowInferer", **INFERERS[name]}
    lab = bundle_lab(tmp_path, inference(inferer=inferer))
    wanted, _ = run_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})
    same_logits(our_logits(lab), wanted)


def test_a_simple_inferer_sees_the_whole_image(tmp_path: Path) -> None:
    simple = {"_target_": "SimpleInferer"}
    config = inference(inferer=simple, preprocessing=compose(SPACE, CLIPPED, SIZE))
    lab = bundle_lab(tmp_path, config)
    wanted, _ = run_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})
    assert wanted.shape[1:] == (16, 8, 24)
    same_logits(our_logits(lab), wanted)


def test_slices_of_a_2d_network(tmp_path: Path) -> None:
    inferer = {"_target_": "SliceInferer", "roi_size": [8, 8], "spatial_dim": 1, "overlap": 0.5}
    config = inference(inferer=inferer, network_def={"_target_": "UNet", **ARGS, "spatial_dims": 2})
    lab = bundle_lab(tmp_path, config, state=unet(2).state_dict())
    wanted, _ = run_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})
    same_logits(our_logits(lab), wanted)


TWO = {
    "_target_": "Compose",
    "transforms": [
        {"_target_": "LoadImaged", "keys": ["t1", "t2"]},
        {"_target_": "EnsureChannelFirstd", "keys": ["t1", "t2"]},
        {**SPACE, "keys": ["t1", "t2"]},
        {"_target_": "NormalizeIntensityd", "keys": ["t1"], "nonzero": True},
        {**CLIPPED, "keys": ["t2"]},
        {"_target_": "ConcatItemsd", "keys": ["t1", "t2"], "name": "image"},
        {"_target_": "ShiftIntensityd", "keys": ["image", "label"], "offset": 0.25,
         "allow_missing_keys": True},
    ],
}  # fmt: skip


def test_several_images_are_concatenated_as_channels(tmp_path: Path) -> None:
    metadata = json.loads(json.dumps(METADATA))
    metadata["network_data_format"]["inputs"] = {
        "image": {"num_channels": 2, "channel_def": {"0": "T1", "1": "T2"}}
    }
    config = inference(
        preprocessing=TWO, network_def={"_target_": "UNet", **ARGS, "in_channels": 2}
    )
    state = unet(3, in_channels=2).state_dict()
    lab = bundle_lab(tmp_path, config, state=state, metadata=metadata)
    save_image(tmp_path / "b.nii.gz", noise(SHAPE, seed=5), voxels_affine(tmp_path / "a.nii.gz"))
    lab.keys["data"]["cases"][0]["image"] = ["a.nii.gz", "b.nii.gz"]
    images = {"t1": tmp_path / "a.nii.gz", "t2": tmp_path / "b.nii.gz"}
    wanted, _ = run_itself(tmp_path / "bundle", images)
    same_logits(our_logits(lab), wanted)
    assert load_config(lab.config).keys.data.channels == ["T1", "T2"]


def voxels_affine(path: Path) -> np.ndarray:
    import nibabel as nib

    return nib.load(path).affine


LARGEST = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]}
INVERT = POST[1]
ENDS = {
    "probabilities": POST,
    "logits": [POST[1], POST[0], POST[2]],
    "labels": [POST[2], {**INVERT, "nearest_interp": True}],
    "largest": [*POST[:3], LARGEST],
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_the_label_map_is_that_of_the_bundles_postprocessing(end: str, tmp_path: Path) -> None:
    config = inference(postprocessing={"_target_": "Compose", "transforms": ENDS[end]})
    lab = bundle_lab(tmp_path, config)
    lab.keys["targets"][0]["over"] = "all"
    assert lab.run().exit_code == 0
    wanted = decide_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})[0].numpy()
    found = lab.segmentation("a")
    assert found.shape == wanted.shape
    assert 0.005 < wanted.mean() < 0.98
    assert (found != wanted).mean() < 2e-3
    rule = end if end != "largest" else "probabilities"
    assert load_config(lab.config).keys.prediction.resample == rule


@pytest.mark.slow
def test_a_bundle_is_noted_as_code_and_recorded_in_full(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    text = lab.validate().output
    assert "note: model.path bundle is code: the bundle's classes and expressions were run" in text
    assert "layers: yes, retraining: yes" in text
    assert lab.run().exit_code == 0
    config = lab.record()["config"]
    assert config["model"]["weights"] == "bundle/models/model.pt"
    assert config["inference"]["window"] == [8, 8, 8]
    assert config["labels"] == {"1": "liver"}
    assert config["data"]["preprocess"]["orientation"] == "RAS"
    before = lab.record()["code_sha256"]
    assert before
    (tmp_path / "bundle" / "scripts.py").write_text("# changed\n", encoding="utf-8")
    assert lab.run().exit_code == 0
    assert lab.record()["code_sha256"] != before


def test_what_the_config_gives_overrides_the_bundle(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    lab.keys["labels"] = {1: "spleen"}
    lab.keys["targets"][0]["label"] = "spleen"
    lab.keys["inference"] = {"overlap": 0.25}
    lab.keys["data"]["preprocess"] = {"spacing_mm": [2, 2, 2], "intensity": "zscore"}
    torch.save(unet(3, seed=4).state_dict(), tmp_path / "other.pt")
    lab.keys["model"]["weights"] = "other.pt"
    keys = load_config(lab.write()).keys
    assert keys.labels == {1: "spleen"}
    assert (keys.inference.window, keys.inference.overlap) == ((8, 8, 8), 0.25)
    assert keys.data.preprocess.spacing_mm == (2, 2, 2)
    assert keys.data.preprocess.orientation == "RAS"
    assert keys.data.preprocess.intensity.zscore is True
    assert keys.model.weights == "other.pt"
    assert lab.validate().exit_code == 0


@pytest.mark.slow
def test_weights_as_torchscript_alone_explain_the_same_and_show_no_layers(tmp_path: Path) -> None:
    from tests.closed import save_script

    lab = bundle_lab(tmp_path)
    wanted = our_logits(lab)
    save_script(unet(3), tmp_path / "bundle" / "models" / "model.ts")
    (tmp_path / "bundle" / "models" / "model.pt").unlink()
    same_logits(our_logits(lab), wanted)
    assert lab.run().exit_code == 0
    lab.keys["methods"] = [{"name": "grad_cam", "layer": "model.0"}]
    lab.keys["output"] = str(tmp_path / "other")
    refused_text = lab.run()
    assert refused_text.exit_code == 2
    assert "methods[0]: grad_cam needs the layers" in refused_text.stderr


def test_channels_of_sigmoids_are_labels_each(tmp_path: Path) -> None:
    metadata = json.loads(json.dumps(METADATA))
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {
        "0": "Tumor core",
        "1": "Whole/tumor",
    }
    post = {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
            {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.4},
        ],
    }
    lab = bundle_lab(tmp_path, inference(postprocessing=post), metadata=metadata)
    lab.keys["targets"][0]["label"] = "Whole_tumor"
    keys = load_config(lab.write()).keys
    assert (keys.activation, keys.threshold) == ("sigmoid", 0.4)
    assert keys.labels == {1: "Tumor_core", 2: "Whole_tumor"}
    experiment = build_experiment(load_config(lab.config))
    assert experiment.predictor.labels.channels("Whole_tumor") == (1,)


def test_a_config_in_yaml_with_transforms_by_reference(tmp_path: Path) -> None:
    import yaml

    split = inference(
        first=READ,
        rest=[{"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
              {**SPACE, "keys": "image"}, {**CLIPPED, "keys": "image"},
              {"_target_": "Resized", "keys": "image", "spatial_size": [2], "_disabled_": True}],
        preprocessing={"_target_": "Compose", "transforms": "$@first + @rest"},
    )  # fmt: skip
    lab = bundle_lab(tmp_path)
    wanted = our_logits(lab)
    configs = tmp_path / "bundle" / "configs"
    (configs / "inference.json").unlink()
    (configs / "inference.yaml").write_text(yaml.safe_dump(split), encoding="utf-8")
    same_logits(our_logits(lab), wanted)


def test_esegeta_predict_agrees_with_what_the_bundle_saved(tmp_path: Path) -> None:
    lab = bundle_lab(tmp_path)
    wanted = decide_itself(tmp_path / "bundle", {"image": tmp_path / "a.nii.gz"})[0]
    affine = voxels_affine(tmp_path / "a.nii.gz")
    save_image(tmp_path / "seg.nii.gz", wanted.numpy().astype(np.uint8), affine)
    lab.keys["data"]["cases"][0]["expected"] = "seg.nii.gz"
    result = esegeta("predict", lab.write())
    assert result.exit_code == 0, result.output
    assert "your pipeline's prediction in 1 case" in result.output
    assert read_json(lab.root / "run.json")
