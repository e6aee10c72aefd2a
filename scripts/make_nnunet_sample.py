#!/usr/bin/env python3
"""Make data_samples/models/nnunet: what nnU-Net v2 leaves of a tiny network of the CT sample.

nnunetv2 plans the data set (2d, few features) and writes the checkpoint; the training is a short
loop of our own over slices that its preprocessing made. The network overfits one volume on
purpose: it only serves to show that the folder is read. Needs `scripts/install dev`.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

SAMPLES = Path(__file__).resolve().parents[1] / "data_samples"
OUTPUT = SAMPLES / "models" / "nnunet"
NAME = "Dataset001_Torso"
CONFIGURATION = "2d"
LABELS = {"background": 0, "spleen": 1, "kidneys": 2, "liver": 3, "bone": 4}
ITERATIONS = 900
BATCH = 8
LEARNING_RATE = 4e-3
NEEDED = ("network_weights", "init_args", "trainer_name", "inference_allowed_mirroring_axes")
"""What inference reads of a checkpoint; the rest goes on with the training."""


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("raw", "preprocessed", "results"):
            (Path(folder) / name).mkdir()
            os.environ[f"nnUNet_{name}"] = str(Path(folder) / name)
        plans, dataset = plan(Path(folder))
        trainer = make_trainer(plans, dataset)
        images, labels = preprocess(trainer, Path(folder))
        train(trainer.network, images, labels, trainer.configuration_manager.patch_size)
        save(trainer, Path(folder))
    print(f"{OUTPUT}: written after {time.monotonic() - began:.0f} s")


def plan(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Let nnU-Net look at the sample and plan a network of few features."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
        ExperimentPlanner,
    )

    raw = folder / "raw" / NAME
    for source, target in (
        ("ct_torso", raw / "imagesTr" / "torso_0000.nii.gz"),
        ("ct_torso_labels", raw / "labelsTr" / "torso.nii.gz"),
    ):
        target.parent.mkdir(parents=True)
        shutil.copy(SAMPLES / "ct_torso" / f"{source}.nii.gz", target)
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(dataset))
    DatasetFingerprintExtractor(NAME, 1).run()
    planner = ExperimentPlanner(NAME)
    planner.UNet_base_num_features = 6
    planner.UNet_max_features_2d = 24
    planner.UNet_featuremap_min_edge_length = 12
    planner.UNet_blocks_per_stage_decoder = (1,) * 13
    return planner.plan_experiment(), dataset


def make_trainer(plans: dict[str, Any], dataset: dict[str, Any]) -> Any:
    """Return nnU-Net's trainer with its network, untrained."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = nnUNetTrainer(
        {**plans, "continue_training": False}, CONFIGURATION, 0, dataset, torch.device("cpu")
    )
    torch.manual_seed(0)
    trainer.network = trainer.build_network_architecture(
        trainer.plans_manager, trainer.configuration_manager, 1, len(LABELS), False
    )
    trainer.optimizer, _ = trainer.configure_optimizers()
    *_, trainer.inference_allowed_mirroring_axes = (
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    )
    return trainer


def preprocess(trainer: Any, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sample as nnU-Net preprocesses it: slices first."""
    raw = folder / "raw" / NAME
    preprocessor = trainer.configuration_manager.preprocessor_class(verbose=False)
    image, label, _ = preprocessor.run_case(
        [str(raw / "imagesTr" / "torso_0000.nii.gz")],
        str(raw / "labelsTr" / "torso.nii.gz"),
        trainer.plans_manager,
        trainer.configuration_manager,
        trainer.dataset_json,
    )
    return torch.from_numpy(image[0]), torch.from_numpy(label[0].astype(np.int64)).clamp(min=0)


def train(
    network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, patch: list[int]
) -> None:
    """Train on mirrored crops of slices."""
    from monai.losses import DiceCELoss

    loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
    rng = np.random.default_rng(0)
    padding = [n for size, low in zip(patch, images.shape[1:], strict=True) for n in [size - low]]
    widths = [w for n in reversed(padding) for w in (max(n, 0) // 2, max(n, 0) - max(n, 0) // 2)]
    images = torch.nn.functional.pad(images, widths)
    labels = torch.nn.functional.pad(labels, widths)
    network.train()
    for iteration in range(ITERATIONS):
        places = rng.integers(0, len(images), BATCH)
        crop = [
            slice(start := int(rng.integers(0, length - size + 1)), start + size)
            for length, size in zip(images.shape[1:], patch, strict=True)
        ]
        x, y = images[places][:, *crop][:, None], labels[places][:, *crop][:, None]
        flips = [axis for axis in (2, 3) if rng.random() < 0.5]
        x, y = x.flip(flips), y.flip(flips)
        value = loss(network(x), y)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        schedule.step()
        if iteration % 100 == 0:
            print(f"iteration {iteration}: loss {float(value):.3f}", flush=True)
    network.eval()


def save(trainer: Any, folder: Path) -> None:
    """Write the folder as nnU-Net does, with what inference needs."""
    results = Path(trainer.output_folder_base)
    target = OUTPUT / NAME / results.name
    shutil.rmtree(OUTPUT, ignore_errors=True)
    (target / "fold_0").mkdir(parents=True)
    whole = folder / "checkpoint.pth"
    trainer.save_checkpoint(str(whole))
    content = torch.load(whole, weights_only=False)
    kept = {key: content[key] for key in NEEDED}
    # The device of the training, and a second copy of the two files beside the folds.
    kept["init_args"] = {"configuration": CONFIGURATION, "fold": 0}
    torch.save(kept, target / "fold_0" / "checkpoint_final.pth")
    preprocessed = folder / "preprocessed" / NAME
    for source, name in (("dataset.json", "dataset.json"), ("nnUNetPlans.json", "plans.json")):
        text = json.dumps(json.loads((preprocessed / source).read_text()), indent=1)
        (target / name).write_text(text + "\n")


if __name__ == "__main__":
    main()
