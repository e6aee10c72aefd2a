"""Tiny experiments with a `features` or an `inspect` block."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from click.testing import Result

from tests.experiments import Lab, esegeta, noise, save_image, unet_lab

SIZE = [8, 8, 8]


def feature_lab(folder: Path, ndim: int = 3, **keys: Any) -> Lab:
    """Return an experiment with one unit, and labels for its cases."""
    lab = unet_lab(folder, cases=2, ndim=ndim, shape=(14, 12, 11)[:ndim])
    for case in lab.keys["data"]["cases"]:
        own = noise((14, 12, 11)[:ndim]) > 1
        case["label"] = f"{case['name']}_label.nii.gz"
        save_image(folder / case["label"], own.astype(np.uint8))
    del lab.keys["targets"], lab.keys["methods"]
    lab.keys["features"] = {
        "objectives": [{"layer": "model.0", "unit": 1}],
        "size": SIZE[:ndim],
        "steps": 2,
        "seeds": 2,
        "patches": 8,
        "generator": {"codes": 4},
        "expert": {"patch": 3, "axes": 4, "components": 2, "samples": 200},
        **keys,
    }
    return lab


def inspect_lab(folder: Path, ndim: int = 3, **keys: Any) -> Lab:
    """Return an experiment that looks into one layer."""
    lab = unet_lab(folder, cases=2, ndim=ndim)
    del lab.keys["targets"], lab.keys["methods"]
    lab.keys["data"]["preprocess"] = {"intensity": {"window": [-2, 2]}}
    lab.keys["inspect"] = {"layers": ["model.0"], "channels": 2, **keys}
    return lab


def features(lab: Lab, *options: Any) -> Result:
    """Write the config and make its pictures."""
    return esegeta("features", lab.write(), *options)


def inspect(lab: Lab, *options: Any) -> Result:
    """Write the config and look inside."""
    return esegeta("inspect", lab.write(), *options)
