"""Nested regions of a tumour: a network that is trained here, and what NumPy makes of its cases."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tests.experiments import Lab, _lab, save_image

REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}

INTEGERS = {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}

THRESHOLDS = {"whole": 0.5, "core": 0.5, "enhancing": 0.4}

SHAPE = (14, 13, 10)

VOXEL_ML = 0.7 * 1.9 * 3.1 / 1000

NETWORK = '''\
"""A small network that looks at one voxel at a time."""

from torch import nn


class Tumour(nn.Module):
    def __init__(self):
        super().__init__()
        self.units = nn.Sequential(nn.Conv3d(4, 12, 1), nn.ReLU())
        self.head = nn.Conv3d(12, 3, 1)

    def forward(self, x):
        return self.head(self.units(x))
'''


def tumour(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return four channels of nested ellipsoids with noise, and their labels; some are unknown."""
    random = np.random.default_rng(seed)
    centre = np.array([6.0, 6.0, 5.0]) + random.uniform(-1, 1, 3)
    place = np.indices(SHAPE).astype(float) - centre[:, None, None, None]
    depth = 1 - np.sqrt((place**2 / np.array([25.0, 20.0, 14.0])[:, None, None, None]).sum(0))
    labels = np.zeros(SHAPE, np.uint8)
    labels[depth > 0], labels[depth > 0.3], labels[depth > 0.6] = 2, 4, 1
    grey = {0: (0, 0, 0, 0), 2: (0, 0, 1, 2), 4: (0, 3, 1, 1), 1: (-2, 0, 2, 1)}
    image = np.zeros((4, *SHAPE), np.float32)
    for integer, values in grey.items():
        image[:, labels == integer] = np.array(values)[:, None]
    image += random.normal(scale=0.7, size=image.shape).astype(np.float32)
    labels[:, :5] = 255  # an annotator did not look here
    return image, labels


def trained() -> nn.Module:
    """Return the network, trained for some seconds on four tumours."""
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(compile(NETWORK, "network", "exec"), names)
    network: nn.Module = names["Tumour"]()
    images, labels = zip(*(tumour(seed) for seed in range(10, 14)), strict=True)
    x = torch.from_numpy(np.stack(images))
    truth = np.stack(labels)
    regions = np.stack([np.isin(truth, own) for own in INTEGERS.values()], axis=1)
    y, known = torch.from_numpy(regions).float(), torch.from_numpy(truth != 255)[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(network(x), y, reduction="none")
        (loss * known).mean().backward()
        optimizer.step()
    return network.eval()


class Trained:
    """A network, the two cases that it has not seen, and what NumPy makes of them."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.cases = {name: tumour(seed) for seed, name in enumerate("ab")}

    def lab(self, folder: Path) -> Lab:
        """Return an experiment on both cases."""
        (folder / "tumours.py").write_text(NETWORK, encoding="utf-8")
        save_file(self.network.state_dict(), folder / "w.safetensors")
        model = {"kind": "module", "class": "tumours:Tumour", "weights": "w.safetensors"}
        lab = _lab(folder, model, 2, SHAPE, [8, 8, 8])
        channels = ("t1", "t1ce", "t2", "flair")
        for name, (image, labels) in self.cases.items():
            files = [
                save_image(folder / f"{name}_{channel}.nii.gz", plane)
                for channel, plane in zip(channels, image, strict=True)
            ]
            save_image(folder / f"{name}_truth.nii.gz", labels)
            case = lab.keys["data"]["cases"]["ab".index(name)]
            case["image"] = [file.name for file in files]
            case["label"] = f"{name}_truth.nii.gz"
        lab.keys["data"]["channels"] = list(channels)
        lab.keys |= {
            "activation": "sigmoid",
            "labels": REGIONS,
            "region_order": list(REGIONS),
            "ignore_label": 255,
            "threshold": {"enhancing": 0.4},
        }
        return lab

    def probability(self, case: str) -> np.ndarray:
        """Return the probability of each region, by matrices."""
        state = {name: value.double().numpy() for name, value in self.network.state_dict().items()}
        x = self.cases[case][0].astype(np.float64).reshape(4, -1)
        hidden = state["units.0.weight"][..., 0, 0, 0] @ x + state["units.0.bias"][:, None]
        y = state["head.weight"][..., 0, 0, 0] @ hidden.clip(0) + state["head.bias"][:, None]
        return (1 / (1 + np.exp(-y))).reshape(3, *SHAPE)

    def masks(self, case: str) -> dict[str, np.ndarray]:
        """Return where each region is predicted."""
        p = self.probability(case)
        return {name: p[k] > THRESHOLDS[name] for k, name in enumerate(REGIONS)}

    def truth(self, case: str) -> dict[str, np.ndarray]:
        """Return where each region is."""
        return {name: np.isin(self.cases[case][1], own) for name, own in INTEGERS.items()}

    def known(self, case: str) -> np.ndarray:
        """Return where the truth is known."""
        return self.cases[case][1] != 255

    def dice(self, case: str, name: str) -> float:
        """Return the Dice of a region over known voxels."""
        found, true = self.masks(case)[name] & self.known(case), self.truth(case)[name]
        return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def table(lab: Lab, name: str) -> list[dict[str, str]]:
    with (lab.root / name).open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
