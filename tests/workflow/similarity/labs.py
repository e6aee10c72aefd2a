"""Tiny comparisons on disk, and their tables."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import yaml

from tests.experiments import SHAPE, Lab, unet_lab

Row = dict[str, str]
Pair = tuple[str, str, str, str]


def similarity_lab(
    folder: Path, *, cases: int = 3, shape: tuple[int, ...] = SHAPE, ndim: int = 3, **keys: Any
) -> Lab:
    """Return a comparison of two layers of a U-Net, over windows, on cases of noise."""
    lab = unet_lab(folder, cases=cases, shape=shape, ndim=ndim)
    for block in ("targets", "methods", "scores"):
        lab.keys.pop(block, None)
    similarity = {"layers": ["model.0", "model.1"], "methods": ["cka"], "samples": 10**6}
    lab.keys["similarity"] = {**similarity, **keys}
    return lab


def other(lab: Lab, name: str, **changes: Any) -> str:
    """Write a config of another network beside a lab's, and return its file's name."""
    keys = copy.deepcopy(lab.keys)
    del keys["similarity"]
    keys.update({"name": name, **changes})
    (lab.folder / f"{name}.yaml").write_text(yaml.safe_dump(keys, sort_keys=False))
    return f"{name}.yaml"


def table(lab: Lab, name: str = "similarity.csv") -> list[Row]:
    """Return the rows of a table."""
    with (lab.root / "similarity" / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def rows_of(lab: Lab, *, method: str = "cka", label: str = "(all)") -> dict[Pair, Row]:
    """Return the rows of a measure over a label, by both networks and layers."""
    names = ("network_a", "layer_a", "network_b", "layer_b")
    return {
        (row[names[0]], row[names[1]], row[names[2]], row[names[3]]): row
        for row in table(lab)
        if (row["method"], row["label"]) == (method, label)
    }
