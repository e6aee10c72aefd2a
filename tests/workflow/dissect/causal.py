"""An experiment on a network whose graph of causes is known: a chain, a skip, a bystander."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.experiments import Lab, _lab, save_image

NETWORK = '''\
"""Voxel by voxel: first -> second -> third -> head, and first -> third past second."""

import torch
from torch import nn


class Second(nn.Module):
    """Unit k is the k-th unit of the first layer, turned over."""

    def forward(self, u):
        return -u[:, :2]


class Third(nn.Module):
    """Unit 0 goes on with unit 0 of second; unit 1 with unit 1 of first, past second."""

    def forward(self, v, u):
        return torch.cat([torch.exp(-v[:, :1]), torch.tanh(u[:, 1:2])], dim=1)


class Causal(nn.Module):
    """Units of first: the first channel; one that is correlated with it; one that is constant."""

    def __init__(self, ndim=3, outputs=3):
        super().__init__()
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.third = Third()      # declared before it runs: what counts is when layers run
        self.first = conv(2, 3, 1, bias=False)
        self.second = Second()
        self.head = conv(2, outputs, 1, bias=False)

    def forward(self, x):
        u = self.first(x)
        v = self.second(u)
        return self.head(self.third(v, u))
'''

BYSTANDER = 0.95
"""Correlation of the second unit of `first` with the first one."""

EDGES = {
    ("first[0]", "second[0]"),
    ("second[0]", "third[0]"),
    ("third[0]", "label1"),
    ("first[1]", "second[1]"),
    ("first[1]", "third[1]"),
    ("third[1]", "label2"),
}
"""Who causes what by itself: what first[0] does to label1, second[0] and third[0] do; second[1] has
no effect, though it is as good as the same as second[0]."""


def causal_lab(
    folder: Path,
    *,
    shape: tuple[int, ...] = (12, 10, 8),
    ndim: int | None = None,
    activation: str = "softmax",
    cases: int = 2,
) -> Lab:
    """Return a dissection with trails; label 1 is where the first channel is high, 2 low."""
    ndim = ndim or len(shape)
    (folder / "causal.py").write_text(NETWORK, encoding="utf-8")
    background = int(activation == "softmax")
    first = torch.tensor([[1.0, 0.0], [BYSTANDER, (1 - BYSTANDER**2) ** 0.5], [0.0, 0.0]])
    head = torch.zeros(2 + background, 2)
    head[background, 0] = head[background + 1, 1] = 1.0
    column = (..., *[None] * ndim)
    state = {"first.weight": first[column].clone(), "head.weight": head[column].clone()}
    save_file(state, folder / "w.safetensors")
    args = {"ndim": ndim, "outputs": 2 + background}
    model = {"kind": "module", "class": "causal:Causal", "args": args, "weights": "w.safetensors"}
    lab = _lab(folder, model, 0, shape, [6, 5, 4][:ndim])
    entries: list[dict[str, Any]] = []
    for case in range(cases):
        image = np.random.default_rng(case).normal(size=(2, *shape)).astype(np.float32)
        truth = np.where(image[0] > 0.8, 1, np.where(image[0] < -0.8, 2, 0)).astype(np.int16)
        paths = [f"{case}_{channel}.nii.gz" for channel in range(2)]
        for path, channel in zip(paths, image, strict=True):
            save_image(folder / path, channel)
        save_image(folder / f"{case}_label.nii.gz", truth)
        entries.append({"name": f"n{case}", "image": paths, "label": f"{case}_label.nii.gz"})
    lab.keys["data"]["cases"] = entries
    lab.keys["data"]["channels"] = ["t1", "t2"]
    lab.keys["inference"]["overlap"] = 0  # no voxel is seen twice, so that values do not tie
    lab.keys["activation"] = activation
    lab.keys["labels"] = {1: "label1", 2: "label2"}
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    lab.keys["dissection"] = {
        "layers": ["third", "first", "second"],
        "concepts": {"high": 1, "low": 2},
        "quantile": 0.2,
        "chance": {"kind": "permutation", "samples": 99},
        "figures": {"units": 0},
        "trails": {"samples": 1200, "permutations": 99, "windows": 40},
    }
    return lab
