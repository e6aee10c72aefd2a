"""MONAI bundles as their authors write them, and what MONAI's own parser makes of them."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.builders import affine_of, unet
from tests.experiments import Lab, noise, save_image

IMAGE = {"keys": "image"}
READ = [
    {"_target_": "LoadImaged", "keys": "image"},
    {"_target_": "EnsureChannelFirstd", "keys": "image"},
]
ARGS = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "channels": [4, 8],
    "strides": [2],
    "act": "RELU",
    "norm": "BATCH",
    "num_res_units": 0,
}
"""Of `tests.builders.unet`."""

INFERENCE: dict[str, Any] = {
    "imports": ["$import os"],
    "bundle_root": ".",
    "output_dir": "$os.path.join(@bundle_root, 'eval')",
    "device": "$torch.device('cpu')",
    "pixdim": [1.5, 1.5, 2.0],
    "network_def": {"_target_": "UNet", **ARGS},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            *READ,
            {"_target_": "Orientationd", **IMAGE, "axcodes": "RAS"},
            {"_target_": "Spacingd", **IMAGE, "pixdim": "@pixdim", "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged",
                **IMAGE,
                "a_min": -1,
                "a_max": 1.5,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "EnsureTyped", **IMAGE},
        ],
    },
    "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in os.listdir('/nowhere')]"},
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [8, 8, 8],
        "sw_batch_size": 2,
        "overlap": 0.5,
        "mode": "gaussian",
    },
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": False,
                "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
        ],
    },
}

METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "network_data_format": {
        "inputs": {"image": {"num_channels": 1, "channel_def": {"0": "image"}}},
        "outputs": {"pred": {"num_channels": 2, "channel_def": {"0": "background", "1": "liver"}}},
    },
}


def inference(**sections: Any) -> dict[str, Any]:
    """Return an inference config with other sections than the usual."""
    return {**copy.deepcopy(INFERENCE), **sections}


def compose(*transforms: dict[str, Any]) -> dict[str, Any]:
    """Return a `Compose` of transforms of the image that is read first."""
    return {"_target_": "Compose", "transforms": [*READ, *({**IMAGE, **t} for t in transforms)]}


def write_bundle(
    folder: Path,
    config: dict[str, Any] | None = None,
    *,
    metadata: dict[str, Any] | None = None,
    state: dict[str, Tensor] | None = None,
) -> Path:
    """Write a bundle of a U-Net, or of the network of a config, with its weights."""
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True)
    text = json.dumps(INFERENCE if config is None else config)
    (folder / "configs" / "inference.json").write_text(text, encoding="utf-8")
    text = json.dumps(METADATA if metadata is None else metadata)
    (folder / "configs" / "metadata.json").write_text(text, encoding="utf-8")
    torch.save(unet(3).state_dict() if state is None else state, folder / "models" / "model.pt")
    return folder


def own_parser(folder: Path) -> Any:
    """Return MONAI's parser of a bundle."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(folder / "configs" / "inference.json"))
    parser.read_meta(str(folder / "configs" / "metadata.json"))
    parser["bundle_root"] = str(folder)
    return parser


def run_itself(folder: Path, images: dict[str, Path]) -> tuple[Tensor, dict[str, Any]]:
    """Return the logits `L *T` of a bundle's own workflow, and the data behind its inferer."""
    parser = own_parser(folder)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        network = parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(folder / "models" / "model.pt"))
        data = parser.get_parsed_content("preprocessing")(
            {key: str(path) for key, path in images.items()}
        )
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
        return data["pred"].as_tensor().clone(), data


def decide_itself(folder: Path, images: dict[str, Path]) -> Tensor:
    """Return the label map that a bundle's own workflow would save."""
    post = inference_of(folder)["postprocessing"]
    kept = [t for t in post["transforms"] if not t["_target_"].startswith("SaveImage")]
    parser = own_parser(folder)
    parser["postprocessing"] = {**post, "transforms": kept}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        network = parser.get_parsed_content("network_def").eval()
        network.load_state_dict(torch.load(folder / "models" / "model.pt"))
        data = parser.get_parsed_content("preprocessing")(
            {key: str(path) for key, path in images.items()}
        )
        data["pred"] = parser.get_parsed_content("inferer")(data["image"][None], network)[0]
        found: Tensor = parser.get_parsed_content("postprocessing")(data)["pred"]
    return found.as_tensor()


def inference_of(folder: Path) -> dict[str, Any]:
    """Return the inference config of a bundle, as it was written."""
    found: dict[str, Any] = json.loads((folder / "configs" / "inference.json").read_text())
    return found


SHAPE = (17, 15, 13)


def bundle_lab(folder: Path, config: dict[str, Any] | None = None, **given: Any) -> Lab:
    """Return an experiment that says no more than where bundle and images are."""
    write_bundle(folder / "bundle", config, **given)
    rotated = affine_of("anisotropic", 3)
    rotated[:3, :3] = rotated[:3, :3] @ np.diag([-1.0, 1, 1])[[1, 0, 2]]
    array = 2 * noise(SHAPE)
    array[:3] = array[:, -2:] = -9  # so that there is something to crop away
    save_image(folder / "a.nii.gz", array, rotated)
    keys = {
        "version": 1,
        "name": "tiny",
        "output": str(folder / "out"),
        "device": "cpu",
        "model": {"kind": "bundle", "path": "bundle"},
        "data": {"cases": [{"name": "a", "image": "a.nii.gz"}]},
        "targets": [{"name": "liver", "label": "liver", "of": "logit", "over": "all"}],
        "methods": ["saliency"],
    }
    return Lab(folder, keys)


RANGE = {"_target_": "ScaleIntensityRanged", "a_min": -1, "a_max": 1.5}
CLIPPED = {**RANGE, "b_min": 0, "b_max": 1, "clip": True}
ORIENT = {"_target_": "Orientationd", "axcodes": "RAS"}
SPACE = {"_target_": "Spacingd", "pixdim": [1.5, 1.5, 2.0], "mode": "bilinear"}
FOREGROUND = {"_target_": "CropForegroundd", "source_key": "image"}
SIZE = {"_target_": "ResizeWithPadOrCropd", "spatial_size": [16, 8, 24]}
POST = INFERENCE["postprocessing"]["transforms"]
