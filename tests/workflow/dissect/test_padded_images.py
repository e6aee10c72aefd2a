"""Padding of preprocessing is no part of the image that units are judged on."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.experiments import Lab, esegeta, pointwise_lab, save_image, voxels

SHAPE = (8, 6, 6)


def dissected(folder: Path, preprocess: dict[str, Any], upsample: str) -> Path:
    """Dissect a unit that is the image itself, and one that is its opposite."""
    folder.mkdir()
    lab: Lab = pointwise_lab(folder, [[1.0], [-1.0]], [0.0, 0.0], shape=SHAPE)
    image = voxels(folder / "a.nii.gz")
    save_image(folder / "mask.nii.gz", (image > np.quantile(image, 0.8)).astype(np.uint8))
    lab.keys["data"]["cases"][0]["label"] = "mask.nii.gz"
    lab.keys["data"]["preprocess"] = preprocess
    lab.keys["dissection"] = {
        "layers": "all",
        "concepts": {"bright": 1, "dark": {"not_of": "bright"}},
        "quantile": 0.1,
        "chance": {"kind": "permutation", "samples": 20},
        "figures": {"units": 0, "images": 1},
        "upsample": upsample,
    }
    result = esegeta("dissect", lab.write())
    assert result.exit_code == 0, result.output
    return lab.root / "dissection"


CHANCE = {"p", "q"}
"""Columns that draws decide, which are of other voxels."""


def rows_of(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [{key: number(text) for key, text in row.items()} for row in csv.DictReader(stream)]


def number(text: str | None) -> float | str:
    try:
        return float(text or "nan")
    except ValueError:
        return str(text)


def known(value: float | str) -> Any:
    """Allow for rounding: the network is run on windows of other places."""
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("upsample", ["native", "upsampled"])
def test_padding_is_counted_nowhere(tmp_path: Path, upsample: str) -> None:
    # Dark for one unit and bright for the other: it would be above every threshold.
    padded = {"crop_or_pad": {"size": [14, 9, 9], "value": -9.0}}
    tables = [
        dissected(tmp_path / name, keys, upsample)
        for name, keys in (("plain", {}), ("padded", padded))
    ]
    for table in ("units.csv", "pairs.csv", "concepts.csv"):
        plain, found = (rows_of(folder / table) for folder in tables)
        assert len(found) == len(plain) > 1
        for one, other in zip(found, plain, strict=True):
            assert one.keys() == other.keys()
            for column in one.keys() - CHANCE:
                assert other[column] == known(one[column]), column
