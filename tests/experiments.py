"""Tiny experiments on disk: NIfTI images, weights and YAML, run through the command line."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from safetensors.torch import save_file
from torch import Tensor
from typer.testing import CliRunner

from esegeta.cli import app
from esegeta.volume.atomic import TEMPORARY
from tests.builders import affine_of, unet

SHAPE = (12, 11, 9)
WINDOW = [8, 8, 8]

NETWORKS = '''\
"""Networks of the tests, as a user's own file beside the config."""

import torch
from torch import nn


class Pointwise(nn.Module):
    """Logit k of a voxel is w_k . x + b_k."""

    def __init__(self, ndim=3, in_channels=1, out_channels=2):
        super().__init__()
        kind = nn.Conv2d if ndim == 2 else nn.Conv3d
        self.head = kind(in_channels, out_channels, 1)

    def forward(self, x):
        return self.head(x)


class Weighted(nn.Module):
    """Logit k of voxel v is sum_c w[k, c, v] x[c, v]; w lies on the window."""

    def __init__(self, shape, in_channels=1):
        super().__init__()
        self.register_buffer("w", torch.zeros(shape))

    def forward(self, x):
        return (self.w[None] * x[:, None]).sum(2)
'''


def esegeta(*arguments: Any) -> Result:
    """Run the command line in this process; what is no exit is raised."""
    result = CliRunner().invoke(app, [str(item) for item in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def save_image(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write an array as NIfTI, on an anisotropic grid unless told otherwise."""
    affine = affine_of("anisotropic", min(array.ndim, 3)) if affine is None else affine
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def noise(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """Return standard normal float32 noise."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def voxels(path: Path) -> np.ndarray:
    """Return the values of a NIfTI file in their own type, read to the end."""
    return np.asarray(nib.load(path).dataobj)


@dataclass
class Lab:
    """One experiment in a folder; change `keys`, then run it."""

    folder: Path
    keys: dict[str, Any]

    @property
    def config(self) -> Path:
        """The YAML file."""
        return self.folder / "tiny.yaml"

    @property
    def root(self) -> Path:
        """The run's output folder."""
        return self.folder / "out" / "tiny"

    def write(self) -> Path:
        """Write the keys as YAML."""
        text = yaml.safe_dump(self.keys, sort_keys=False)
        self.config.write_text(text, encoding="utf-8")
        return self.config

    def line_of(self, text: str) -> int:
        """Return the line of the YAML file on which a text stands last."""
        lines = self.config.read_text(encoding="utf-8").splitlines()
        return max(number for number, line in enumerate(lines, start=1) if text in line)

    def run(self, *options: Any) -> Result:
        """Write the config and run it."""
        return esegeta("run", self.write(), *options)

    def predict(self, *options: Any) -> Result:
        """Write the config and predict its cases."""
        return esegeta("predict", self.write(), *options)

    def validate(self, *options: Any) -> Result:
        """Write the config and check it."""
        return esegeta("validate", self.write(), *options)

    def file(self, case: str, target: str, method: str, ending: str = "attrmap.nii.gz") -> Path:
        """Return the path of one file of a task."""
        return self.root / case / f"{case}_label-{target}_desc-{method}_{ending}"

    def map(self, case: str, target: str, method: str) -> np.ndarray:
        """Return the values of a task's map."""
        return voxels(self.file(case, target, method))

    def sidecar(self, case: str, target: str, method: str) -> dict[str, Any]:
        """Return the sidecar of a task's map."""
        return read_json(self.file(case, target, method, "attrmap.json"))

    def segmentation(self, case: str) -> np.ndarray:
        """Return the predicted label integers of a case."""
        return voxels(self.root / case / f"{case}_desc-prediction_dseg.nii.gz")

    def record(self) -> dict[str, Any]:
        """Return run.json."""
        return read_json(self.root / "run.json")

    def statuses(self) -> dict[tuple[str, str, str], str]:
        """Return how each task ended, by case, target and method."""
        tasks = self.record()["units"]
        return {(task["case"], task["target"], task["method"]): task["status"] for task in tasks}

    def scores(self) -> list[dict[str, str]]:
        """Return the rows of scores.csv."""
        with (self.root / "scores.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def predictions(self) -> list[dict[str, str]]:
        """Return the rows of predictions.csv."""
        with (self.root / "predictions.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    def maps(self) -> dict[str, int]:
        """Return the time of writing of every map, by file name."""
        return {path.name: when for path, when in written(self.root, "**/*_attrmap.nii.gz").items()}

    def leftovers(self) -> list[Path]:
        """Return temporary files that were left."""
        return [path for path in self.folder.rglob("*") if path.name.startswith(TEMPORARY)]


def written(folder: Path, pattern: str) -> dict[Path, int]:
    """Return the time of writing of the results under a folder, while others may write there.

    A pattern meets their temporary files as well: those are no results, and soon gone.
    """
    times = {}
    for path in folder.glob(pattern):
        if not path.name.startswith(TEMPORARY):
            with suppress(FileNotFoundError):  # discarded since it was found
                times[path] = path.stat().st_mtime_ns
    return times


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def unet_lab(folder: Path, *, cases: int = 1, shape: tuple[int, ...] = SHAPE, ndim: int = 3) -> Lab:
    """Return an experiment of a MONAI U-Net with random weights on cases a, b, ... of noise."""
    save_file(unet(ndim).state_dict(), folder / "w.safetensors")
    args = {
        "spatial_dims": ndim,
        "in_channels": 1,
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "act": "RELU",
        "norm": "BATCH",
    }
    model = {"kind": "monai", "network": "UNet", "args": args, "weights": "w.safetensors"}
    return _lab(folder, model, cases, shape, WINDOW[:ndim])


def pointwise_lab(
    folder: Path,
    weight: list[list[float]],
    bias: list[float],
    *,
    cases: int = 1,
    shape: tuple[int, ...] = SHAPE,
    ndim: int = 3,
) -> Lab:
    """Return an experiment whose logit k of a voxel is `weight[k] . x + bias[k]`."""
    (folder / "tiny_networks.py").write_text(NETWORKS, encoding="utf-8")
    w = torch.tensor(weight)
    state = {"head.weight": w[(..., *[None] * ndim)].clone(), "head.bias": torch.tensor(bias)}
    save_file(state, folder / "w.safetensors")
    args = {"ndim": ndim, "in_channels": w.shape[1], "out_channels": w.shape[0]}
    return _lab(folder, _module("Pointwise", args), cases, shape, WINDOW[:ndim])


def threshold_lab(folder: Path, cases: int = 1) -> Lab:
    """Return an experiment whose voxels are liver above zero, with a logit of twice the value."""
    lab = pointwise_lab(folder, [[0.0], [2.0]], [0.0, 0.0], cases=cases)
    lab.keys["targets"] = []
    return lab


def weighted_lab(folder: Path, w: Tensor, *, shape: tuple[int, ...]) -> Lab:
    """Return an experiment whose logits are `sum_c w[k, c] * x[c]` on windows of w's shape."""
    (folder / "tiny_networks.py").write_text(NETWORKS, encoding="utf-8")
    save_file({"w": w.contiguous()}, folder / "w.safetensors")
    args = {"shape": list(w.shape), "in_channels": w.shape[1]}
    return _lab(folder, _module("Weighted", args), 1, shape, list(w.shape[2:]))


def _module(name: str, args: dict[str, Any]) -> dict[str, Any]:
    kind = {"kind": "module", "class": f"tiny_networks:{name}", "args": args}
    return {**kind, "weights": "w.safetensors"}


def _lab(
    folder: Path, model: dict[str, Any], cases: int, shape: tuple[int, ...], window: list[int]
) -> Lab:
    names = [chr(ord("a") + place) for place in range(cases)]
    for place, name in enumerate(names):
        save_image(folder / f"{name}.nii.gz", noise(shape, seed=place))
    keys = {
        "version": 1,
        "name": "tiny",
        "output": str(folder / "out"),
        "seed": 3,
        "device": "cpu",
        "model": model,
        "activation": "softmax",
        "labels": {1: "liver"},
        "data": {"cases": [{"name": name, "image": f"{name}.nii.gz"} for name in names]},
        "inference": {"window": window, "overlap": 0.5, "blend": "gaussian", "batch_size": 4},
        "targets": [{"name": "liver", "label": "liver", "of": "logit", "over": "predicted"}],
        "methods": ["saliency"],
        "scores": [],
    }
    return Lab(folder, keys)


def refused(result: Result, lab: Lab, *fragments: str) -> None:
    """Assert exit code 2, a message with all fragments, no traceback and no output."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert "error: " in result.stderr
    for fragment in fragments:
        assert fragment in result.stderr
    assert not (lab.folder / "out").exists()
    assert lab.leftovers() == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the pictures, which cost more than all the rest, and use one thread."""
    monkeypatch.setattr("esegeta.report.save.draw_overlay", lambda path, *rest: path.touch())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
