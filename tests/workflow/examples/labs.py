"""Studies of examples on a network whose logit of the liver is twice the voxel's value."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import Result
from safetensors.torch import save_file

from tests.experiments import Lab, noise, pointwise_lab, save_image


def examples_lab(folder: Path, *, cases: int = 5, ndim: int = 3, **block: Any) -> Lab:
    """Return a study of cases that grow brighter, a, b, ...; their ground truth is x > 0.2.

    In 2D they are the first slices of those in 3D.
    """
    lab = pointwise_lab(folder, [[0.0], [2.0]], [0.0, 0.0], cases=cases, ndim=ndim)
    for place, case in enumerate(lab.keys["data"]["cases"]):
        image = image_of(place) if ndim == 3 else image_of(place)[..., 0]
        save_image(folder / case["image"], image)
        save_image(folder / f"{case['name']}_truth.nii.gz", (image > 0.2).astype(np.uint8))
        case["label"] = f"{case['name']}_truth.nii.gz"
    lab.keys["targets"] = [{"name": "liver", "label": "liver", "over": "all", "reduce": "mean"}]
    lab.keys.pop("methods")
    lab.keys["inference"]["overlap"] = 0.0
    lab.keys["examples"] = {"layer": "head", "prototypes": 2, "criticisms": 1, **block}
    return lab


def image_of(place: int) -> np.ndarray:
    """Return the image of a case by its place."""
    smooth = np.kron(noise((3, 3, 3), seed=place), np.ones((4, 4, 3), dtype=np.float32))[:, :11, :9]
    return smooth + np.float32(0.3 * place)


def with_influence(lab: Lab, **block: Any) -> Lab:
    """Ask for the influence of the study's own cases on its target, at two checkpoints."""
    folder = lab.folder / "ckpt"
    folder.mkdir(exist_ok=True)
    for step, scale in ((2, 0.5), (10, 1.0)):
        weight = torch.tensor([[0.0], [scale]])[..., None, None, None]
        bias = torch.tensor([0.0, 0.1 * scale])
        save_file({"head.weight": weight, "head.bias": bias}, folder / f"step{step}.safetensors")
    lab.keys["examples"]["influence"] = {
        "checkpoints": ["ckpt/*.safetensors"],
        "training": {"cases": [dict(case) for case in lab.keys["data"]["cases"]]},
        "test": {"targets": ["liver"]},
        **block,
    }
    return lab


def table(lab: Lab, name: str) -> list[dict[str, str]]:
    """Return the rows of a table of the study."""
    with (lab.root / "examples" / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def set_case(lab: Lab, place: int, image: np.ndarray, truth: np.ndarray | None) -> None:
    """Give a case another image, and another ground truth or none."""
    case = lab.keys["data"]["cases"][place]
    save_image(lab.folder / case["image"], image)
    case.pop("label", None)
    if truth is not None:
        case["label"] = f"{case['name']}_truth.nii.gz"
        save_image(lab.folder / case["label"], truth.astype(np.uint8))


def failures(result: Result) -> str:
    """Return what a study that failed in part says, as one line."""
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())
