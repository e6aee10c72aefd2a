"""Experiments whose prediction NumPy knows, and segmentations that are expected of them."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.experiments import Lab, noise, pointwise_lab, save_image


def dseg(lab: Lab, case: str = "a", ending: str = "nii.gz") -> Path:
    return lab.root / case / f"{case}_desc-prediction_dseg.{ending}"


def expect(lab: Lab, array: np.ndarray, case: int = 0, **options: Any) -> Path:
    """Give a case an expected segmentation."""
    name = f"expected_{case}.nii.gz"
    path = save_image(lab.folder / name, array, **options)
    lab.keys["data"]["cases"][case]["expected"] = name
    return path


def positive(seed: int = 0) -> np.ndarray:
    """What `liver_lab` predicts of a case: where the image is above 0."""
    return (noise(seed=seed) > 0).astype(np.uint8)


def liver_lab(folder: Path, cases: int = 1) -> Lab:
    return pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], cases=cases)


def without_maps(lab: Lab) -> Lab:
    for key in ("targets", "methods", "scores"):
        del lab.keys[key]
    return lab
