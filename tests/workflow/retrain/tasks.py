"""Tasks whose answer is known: which voxels carry the label, and which say nothing."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.experiments import NETWORKS, Lab, esegeta, read_json, save_image, written

SIDES = {2: 16, 3: 8}


@dataclass
class RetrainLab(Lab):
    """An experiment with a block `retrain`."""

    def retrain(self, *options: Any) -> Any:
        """Write the config and retrain."""
        return esegeta("retrain", self.write(), *options)

    @property
    def retrain_folder(self) -> Path:
        """Where retraining writes."""
        return self.root / "retrain"

    def table(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table, numbers as numbers."""
        with (self.retrain_folder / name).open(encoding="utf-8", newline="") as stream:
            return [
                {key: _number(value) for key, value in row.items()}
                for row in csv.DictReader(stream)
            ]

    def dice(self, mode: str, method: str, fraction: float, label: str = "liver") -> list[float]:
        """Return the Dice of one point of one curve, by seed and fold."""
        return [
            row["dice"]
            for row in self.table("retrain.csv")
            if (row["mode"], row["method"], row["label"]) == (mode, method, label)
            and math.isclose(row["fraction"], fraction)
        ]

    def retrain_record(self) -> dict[str, Any]:
        """Return retrain.json."""
        return read_json(self.retrain_folder / "retrain.json")

    def results(self, mode: str, method: str) -> list[dict[str, Any]]:
        """Return the files of the trainings of a mode and method."""
        paths = (self.retrain_folder / "units").glob(f"{method}_{mode}-*.json")
        return [read_json(path) for path in sorted(paths)]

    def endings(self) -> dict[str, int]:
        """Return how many trainings ended how."""
        found: dict[str, int] = {}
        for unit in self.retrain_record()["units"]:
            found[unit["status"]] = found.get(unit["status"], 0) + 1
        return found

    def units(self) -> dict[str, int]:
        """Return the time of writing of the result of every training, by file name."""
        found = written(self.retrain_folder / "units", "*.json")
        return {path.name: when for path, when in found.items()}


def half_task(
    folder: Path, *, ndim: int = 2, activation: str = "softmax", cases: int = 4
) -> RetrainLab:
    """Return a retraining in which the first half of every image carries the label, alone.

    Channel `here` is 1 in that half and 0 in the other; channel `signal` is 1 in a fifth of all
    voxels and -1 in the rest, at random, and a voxel of the half has the label where its signal
    is 1. A pointwise linear network solves the task. The trained network weighs `here` by far the
    most, so that input x gradient ranks the half first: it is the true map.
    """
    (folder / "tiny_networks.py").write_text(NETWORKS, encoding="utf-8")
    outputs = 2 if activation == "softmax" else 1
    weight = torch.zeros(outputs, 2)
    weight[-1] = torch.tensor([5.0, 0.01])
    state = {
        "head.weight": weight[(..., *[None] * ndim)].clone(),
        "head.bias": torch.zeros(outputs),
    }
    save_file(state, folder / "w.safetensors")
    names = [f"c{place}" for place in range(cases)]
    for place, name in enumerate(names):
        _save_case(folder, name, ndim, seed=place)
    side = SIDES[ndim]
    keys = {
        "version": 1,
        "name": "tiny",
        "output": str(folder / "out"),
        "seed": 3,
        "device": "cpu",
        "model": {
            "kind": "module",
            "class": "tiny_networks:Pointwise",
            "args": {"ndim": ndim, "in_channels": 2, "out_channels": outputs},
            "weights": "w.safetensors",
        },
        "activation": activation,
        "labels": {1: "liver"},
        "data": {
            "cases": [
                {
                    "name": name,
                    "image": [f"{name}_here.nii.gz", f"{name}_signal.nii.gz"],
                    "label": f"{name}_label.nii.gz",
                }
                for name in names
            ],
            "channels": ["here", "signal"],
        },
        "inference": {"window": [side] * ndim, "overlap": 0.0, "batch_size": 4},
        "targets": [{"name": "liver", "label": "liver", "of": "logit", "over": "all"}],
        "methods": ["input_x_gradient"],
        "retrain": {
            "fractions": [0.5],
            "optimizer": "Adam",
            "optimizer_args": {"lr": 0.5},
            "iterations": 40,
            "batch_size": 4,
            "seeds": [0],
            "folds": 2,
        },
    }
    return RetrainLab(folder, keys)


def small_task(folder: Path, **retrain: Any) -> RetrainLab:
    """Return the same in 2D, as small as it goes: what is asked is not what the networks learn."""
    lab = half_task(folder)
    lab.keys["retrain"] |= {"iterations": 2, "fractions": [0.5], **retrain}
    return lab


def _save_case(folder: Path, name: str, ndim: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (SIDES[ndim],) * ndim
    here = np.zeros(shape, np.float32)
    here[: shape[0] // 2] = 1
    signal = np.where(random.random(shape) < 0.2, 1, -1).astype(np.float32)
    label = ((signal > 0) & (here > 0)).astype(np.uint8)
    save_image(folder / f"{name}_here.nii.gz", here)
    save_image(folder / f"{name}_signal.nii.gz", signal)
    save_image(folder / f"{name}_label.nii.gz", label)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
