#!/usr/bin/env python3
"""Write the shipped CT network as a MONAI bundle into data_samples/models/ct_bundle/.

Its configs are those that a bundle of the model zoo has. The weights, which would be more than
half a megabyte, stay where they are; `--weights` puts them into the bundle, as models/model.pt,
so that it is whole.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from demo_recipes import RECIPES
from safetensors.torch import load_file

MODELS = Path(__file__).resolve().parent.parent / "data_samples" / "models"
NAME = "ct_unet3d"
IMAGE = {"keys": "image"}

INFERENCE: dict[str, Any] = {
    "imports": ["$import os"],
    "bundle_root": ".",
    "output_dir": "$os.path.join(@bundle_root, 'eval')",
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
    "network_def": {"_target_": "UNet"},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", **IMAGE},
            {"_target_": "EnsureChannelFirstd", **IMAGE},
            {"_target_": "Orientationd", **IMAGE, "axcodes": "RAS"},
            {
                "_target_": "ScaleIntensityRanged",
                **IMAGE,
                "a_min": -250,
                "a_max": 400,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "EnsureTyped", **IMAGE},
        ],
    },
    "inferer": {
        "_target_": "SlidingWindowInferer",
        "roi_size": [64, 64, 64],
        "sw_batch_size": 2,
        "overlap": 0.25,
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
CHANNELS = {"0": "background", "1": "spleen", "2": "kidneys", "3": "liver", "4": "bone"}
METADATA: dict[str, Any] = {
    "version": "0.1.0",
    "task": "A demonstration that overfits one patient; not for clinical use",
    "network_data_format": {
        "inputs": {
            "image": {
                "type": "image",
                "modality": "CT",
                "num_channels": 1,
                "spatial_shape": [64, 64, 64],
                "value_range": [0, 1],
                "channel_def": {"0": "image"},
            }
        },
        "outputs": {"pred": {"type": "image", "num_channels": 5, "channel_def": CHANNELS}},
    },
}


def write_bundle(folder: Path) -> None:
    """Write the configs of the bundle."""
    network = {"_target_": "UNet", **RECIPES[NAME].args}
    for name, content in (
        ("inference", {**INFERENCE, "network_def": network}),
        ("metadata", METADATA),
    ):
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=MODELS / "ct_bundle")
    parser.add_argument("--weights", action="store_true", help="put the weights into it too")
    options = parser.parse_args()
    write_bundle(options.folder)
    if options.weights:
        (options.folder / "models").mkdir(exist_ok=True)
        torch.save(load_file(MODELS / f"{NAME}.safetensors"), options.folder / "models/model.pt")
    print(f"wrote {options.folder}")


if __name__ == "__main__":
    main()
