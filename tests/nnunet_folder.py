"""A results folder as nnU-Net v2 leaves it, written by hand: small enough to break in every way."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from esegeta.config import RunConfig, load_config
from esegeta.model.nnunet import build_nnunet_network
from esegeta.model.nnunet_architecture import nnunet_architecture
from tests.experiments import noise, save_image

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}

PLANS: dict[str, Any] = {
    "dataset_name": "Dataset012_Tiny",
    "plans_name": "nnUNetPlans",
    "original_median_shape_after_transp": [16, 18, 20],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "configurations": {
        "3d_fullres": {
            "preprocessor_name": "DefaultPreprocessor",
            "patch_size": [8, 8, 8],
            "spacing": [2.0, 1.5, 1.0],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": RESAMPLING,
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {**RESAMPLING, "order": 1},
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet."
                "PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": 2,
                    "features_per_stage": [2, 4],
                    "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                    "strides": [[1, 1, 1], [2, 2, 2]],
                    "n_conv_per_stage": [1, 1],
                    "n_conv_per_stage_decoder": [1],
                    "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                    "dropout_op": None,
                    "dropout_op_kwargs": None,
                    "nonlin": "torch.nn.LeakyReLU",
                    "nonlin_kwargs": {"inplace": True},
                },
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
            },
        },
        "3d_lowres": {"inherits_from": "3d_fullres", "spacing": [4.0, 3.0, 2.0]},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    },
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 60.5, "std": 21.25, "percentile_00_5": -40.0, "percentile_99_5": 190.0}
    },
}

DATASET: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "tumour": 2},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


@dataclass
class Results:
    """The results of one configuration, to be changed before they are written.

    Args:
        root: the folder of all results.
        configuration: that was trained.
        folds: that were trained.
    """

    root: Path
    configuration: str = "3d_fullres"
    folds: tuple[int | str, ...] = (0, 1)

    def __post_init__(self) -> None:
        self.plans = copy.deepcopy(PLANS)
        self.dataset = copy.deepcopy(DATASET)

    @property
    def folder(self) -> Path:
        return self.root / "Dataset012_Tiny" / f"nnUNetTrainer__nnUNetPlans__{self.configuration}"

    @property
    def block(self) -> dict[str, Any]:
        """The configuration that others inherit from."""
        block: dict[str, Any] = self.plans["configurations"]["3d_fullres"]
        return block

    def write(self, *, num_outputs: int = 3, mirror: tuple[int, ...] | None = (0, 1, 2)) -> Path:
        """Write the folder, with seeded networks."""
        for fold in self.folds:
            path = self.folder / f"fold_{fold}"
            path.mkdir(parents=True, exist_ok=True)
            torch.manual_seed(sum(map(ord, str(fold))))
            plain = PLANS["configurations"]["3d_fullres"]
            network = build_nnunet_network(
                *nnunet_architecture(plain, num_inputs=1, num_outputs=num_outputs)
            )
            content = {
                "network_weights": network.state_dict(),
                "init_args": {"configuration": self.configuration, "fold": fold},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": mirror,
            }
            torch.save(content, path / "checkpoint_final.pth")
        (self.folder / "plans.json").write_text(json.dumps(self.plans))
        (self.folder / "dataset.json").write_text(json.dumps(self.dataset))
        return self.folder


def write_nnunet_config(tmp_path: Path, model: Any, **keys: Any) -> Path:
    """Write a config with little but a `model` of kind nnunet, and its image."""
    save_image(tmp_path / "ct.nii.gz", noise((16, 12, 10)))
    content = {
        "name": "test",
        "model": {"kind": "nnunet", **model},
        "targets": [{"name": "t", "label": "liver"}],
        "methods": ["saliency"],
        **keys,
    }
    content["data"] = {"cases": [{"name": "a", "image": "ct.nii.gz"}], **content.get("data", {})}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def load_nnunet_config(tmp_path: Path, model: Any, **keys: Any) -> RunConfig:
    """Write and load a config; see `write_nnunet_config`."""
    return load_config(write_nnunet_config(tmp_path, model, **keys))
