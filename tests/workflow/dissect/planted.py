"""Experiments whose networks have the concepts for units, and one with a random U-Net."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.experiments import Lab, _lab, save_image, unet_lab

NETWORK = '''\
"""A network that has an indicator of each grey value for a unit, and adds them up."""

import torch
from torch import nn


class Detector(nn.Module):
    """Unit k is 1 where the first channel is k + 1, and 0 elsewhere."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    def forward(self, x):
        return torch.cat([(x[:, :1] == k + 1).to(x.dtype) for k in range(self.count)], dim=1)


class Planted(nn.Module):
    def __init__(self, ndim=3, count=3, outputs=4, in_channels=1):
        super().__init__()
        self.stem = (nn.Conv2d if ndim == 2 else nn.Conv3d)(in_channels, 1, 1, bias=False)
        self.detector = Detector(count)
        self.pool = (nn.AvgPool2d if ndim == 2 else nn.AvgPool3d)(2)
        self.head = (nn.Conv2d if ndim == 2 else nn.Conv3d)(count, outputs, 1)

    def forward(self, x):
        units = self.detector(self.stem(x))
        self.pool(units)
        return self.head(units)
'''

COUNT = 3


def label_map(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Return three boxes of labels 1, 2, 3 at places of their own, in a background of 0."""
    generator = np.random.default_rng(seed)
    truth = np.zeros(shape, dtype=np.int16)
    third = shape[0] // COUNT
    for label in range(1, COUNT + 1):
        start = (label - 1) * third + int(generator.integers(2))
        starts = [int(generator.integers(1, 3)) for _ in shape[1:]]
        rest = [
            slice(first, max(length - 2, first + 1))
            for first, length in zip(starts, shape[1:], strict=True)
        ]
        truth[(slice(start, start + third - 1), *rest)] = label
    return truth


def planted_lab(
    folder: Path,
    *,
    cases: int = 2,
    shape: tuple[int, ...] = (13, 8, 7),
    ndim: int | None = None,
    activation: str = "softmax",
    num_channels: int = 1,
) -> Lab:
    """Return a dissection of a network whose unit k is label k + 1, on cases a, b, ...

    Output channel k holds label k where unit k - 1 is on; the background otherwise.
    """
    ndim = ndim or len(shape)
    (folder / "planted.py").write_text(NETWORK, encoding="utf-8")
    softmax = activation == "softmax"
    outputs = COUNT + softmax
    weight = torch.zeros(outputs, COUNT)
    for label in range(COUNT):
        weight[label + softmax, label] = 20.0
    bias = torch.full((outputs,), -10.0)
    bias[0] = 0.0 if softmax else -10.0
    stem = torch.zeros(1, num_channels, *[1] * ndim)
    stem[:, 0] = 1.0
    state = {
        "stem.weight": stem,
        "head.weight": weight[(..., *[None] * ndim)].clone(),
        "head.bias": bias,
    }
    save_file(state, folder / "w.safetensors")
    args = {"ndim": ndim, "outputs": outputs, "in_channels": num_channels}
    model = {"kind": "module", "class": "planted:Planted", "args": args, "weights": "w.safetensors"}
    lab = _lab(folder, model, 0, shape, [6, 5, 4][:ndim])
    entries: list[dict[str, Any]] = []
    for place in range(cases):
        name = chr(ord("a") + place)
        truth = label_map(shape, place)
        image = truth.astype(np.float32)
        paths = [f"{name}_{channel}.nii.gz" for channel in range(num_channels)]
        for channel, path in enumerate(paths):
            save_image(folder / path, image if channel == 0 else 0 * image + channel)
        save_image(folder / f"{name}_label.nii.gz", truth)
        entries.append({"name": name, "image": paths, "label": f"{name}_label.nii.gz"})
    lab.keys["data"]["cases"] = entries
    if num_channels > 1:
        lab.keys["data"]["channels"] = [f"c{channel}" for channel in range(num_channels)]
    lab.keys["activation"] = activation
    lab.keys["labels"] = {label: f"label{label}" for label in range(1, COUNT + 1)}
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["dissection"] = {
        "layers": ["detector"],
        "concepts": {f"c{label}": label for label in range(1, COUNT + 1)},
        "quantile": 0.3,
        "chance": {"samples": 99},
    }
    return lab


def noisy_lab(
    folder: Path, *, cases: int = 2, shape: tuple[int, ...] = (12, 11, 9), ndim: int = 3
) -> Lab:
    """Return a dissection of a random U-Net on noise, with labels drawn at random."""
    lab = unet_lab(folder, cases=cases, shape=shape, ndim=ndim)
    for place, entry in enumerate(lab.keys["data"]["cases"]):
        generator = np.random.default_rng(100 + place)
        truth = generator.integers(0, 4, shape).astype(np.int16)
        save_image(folder / f"{entry['name']}_label.nii.gz", truth)
        entry["label"] = f"{entry['name']}_label.nii.gz"
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["dissection"] = {
        "layers": ["model.0", "model.1.submodule", "model.2"],
        "concepts": {
            "one": 1,
            "any": [1, 2, 3],
            "rim": {"boundary_of": "liver", "within_mm": 1},
            "rest": {"not_of": "any"},
        },
        "quantile": 0.05,
        "chance": {"samples": 19},
    }
    return lab


def table(lab: Lab, name: str) -> list[dict[str, str]]:
    """Return the rows of a table of the dissection."""
    with (lab.root / "dissection" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def pairs(lab: Lab) -> dict[tuple[str, int, str], dict[str, float]]:
    """Return the numbers of pairs.csv by layer, unit and concept."""
    return {
        (row["layer"], int(row["unit"]), row["concept"]): {
            key: float(value)
            for key, value in row.items()
            if key not in ("layer", "unit", "concept", "category")
        }
        for row in table(lab, "pairs.csv")
    }
