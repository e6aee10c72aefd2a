"""A network whose unit 0 marks one concept and drives the label, unit 1 another and drives nothing.

Unit 2 tells the depth below the surface of the image, and drives the label too: what lies near
the surface is told from other places by it, and not from places as deep. The two concepts lie in
organs of their own, so that neither is among the counter-examples of the other.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.experiments import Lab, _lab, save_image

NETWORK = '''\
"""Units are the channels of the image, and mixtures of them with noise."""

import torch
from torch import nn


class Planted(nn.Module):
    def __init__(self, channels=6):
        super().__init__()
        self.units = nn.Conv2d(channels, channels, 1)
        self.head = nn.Conv2d(channels, 2, 1)

    def forward(self, x):
        return self.head(self.units(x))
'''
SHAPE, CHANNELS, CASES = (26, 24), 6, 6
DRIVES, IDLE, NEAR = "drives", "idle", "near"


def planted_lab(folder: Path) -> Lab:
    """Return an experiment on six cases with three concepts, as masks of each case."""
    (folder / "planted_concepts.py").write_text(NETWORK, encoding="utf-8")
    save_file(planted_state(), folder / "w.safetensors")
    model = {
        "kind": "module",
        "class": "planted_concepts:Planted",
        "args": {"channels": CHANNELS},
        "weights": "w.safetensors",
    }
    lab = _lab(folder, model, 0, SHAPE, [16, 16])
    (folder / "masks").mkdir()
    lab.keys["data"]["cases"] = [_case(folder, number) for number in range(CASES)]
    lab.keys["data"]["channels"] = [f"c{number}" for number in range(CHANNELS)]
    lab.keys["labels"] = {1: "label"}
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["concepts"] = {
        "layers": ["units"],
        "concepts": {
            DRIVES: {"masks": "masks/{case}_drives.nii.gz"},
            IDLE: {"mask": "masks/{case}_idle.nii.gz"},
        },
        "targets": [{"name": "label", "label": "label", "over": "all"}],
        "classifier": "svm",
        "pieces": 4,
        "piece_mm": 2.0,
        "permutations": 19,
        "randoms": 30,
    }
    return lab


def planted_state() -> dict[str, Tensor]:
    """Return the weights of the network."""
    head = torch.zeros(2, CHANNELS, 1, 1)
    head[1, :, 0, 0] = torch.tensor([2.0, 0.0, 1.0, 0.3, -0.3, 0.2])
    return {
        "units.weight": torch.eye(CHANNELS)[..., None, None].clone(),
        "units.bias": torch.zeros(CHANNELS),
        "head.weight": head,
        "head.bias": torch.tensor([0.0, -2.0]),
    }


def depth_of(shape: tuple[int, ...]) -> np.ndarray:
    """Return each voxel's distance to the border, in voxels."""
    rows, columns = np.indices(shape)
    return np.minimum.reduce([rows, columns, shape[0] - 1 - rows, shape[1] - 1 - columns])


def _case(folder: Path, number: int) -> dict[str, Any]:
    generator = np.random.default_rng(number)
    image = generator.normal(size=(CHANNELS, *SHAPE)).astype(np.float32)
    name, affine = chr(ord("a") + number), np.eye(4)
    masks = {}
    for word, channel, corner in ((DRIVES, 0, (4, 5)), (IDLE, 1, (15, 13))):
        mask = np.zeros(SHAPE, dtype=np.int16)
        row, column = (start + int(generator.integers(4)) for start in corner)
        mask[row : row + 5, column : column + 5] = 1
        image[channel] += 4 * mask
        masks[word] = mask
    near = np.zeros(SHAPE, dtype=np.int16)
    near[0, 2 + number : 16 + number] = 1
    image[2] -= 2 * depth_of(SHAPE)
    masks[NEAR] = near
    paths = [f"{name}_{channel}.nii.gz" for channel in range(CHANNELS)]
    for path, channel in zip(paths, image, strict=True):
        save_image(folder / path, channel, affine)
    for word, mask in masks.items():
        save_image(folder / "masks" / f"{name}_{word}.nii.gz", mask, affine)
    halves = np.ones(SHAPE, dtype=np.int16)
    halves[SHAPE[0] // 2 :] = 2
    save_image(folder / f"{name}_label.nii.gz", halves, affine)
    return {"name": name, "image": paths, "label": f"{name}_label.nii.gz"}


def table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))
