"""The whole of a dissection against a rewrite in NumPy, and against itself done otherwise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from esegeta.config import load_config
from esegeta.predict import Units, blend_units
from esegeta.volume import read_case
from esegeta.workflow.dissect import build_dissection
from tests.experiments import Lab, esegeta, voxels
from tests.workflow.dissect.planted import noisy_lab, pairs, table

QUANTILE = 0.05


def maps_of(lab: Lab) -> list[dict[str, tuple[np.ndarray, Any]]]:
    """Return the blended maps of every layer, and the layer's grid, by case."""
    dissection = build_dissection(load_config(lab.write()))
    basis, found = dissection.basis, []
    for case in basis.cases:
        volume, _ = read_case(case, basis.preprocess, basis.reading)
        wanted = [Units(layer.name, 0, layer.num_units) for layer in dissection.layers]
        maps = blend_units(basis.predictor, volume.batch, wanted)
        found.append({item.units.layer: (item.data.numpy(), item.grid) for item in maps})
    return found


def at_voxels(maps: np.ndarray, grid: Any) -> np.ndarray:
    """Interpolate along one axis after the other with NumPy; edges clamped."""
    result = maps.astype(np.float64)
    for axis, length in enumerate(grid.windows.shape, start=1):
        low, stride = grid.windows.padding[axis - 1][0], grid.stride[axis - 1]
        centres = stride * (np.arange(result.shape[axis]) + 0.5) - 0.5 - low
        result = np.apply_along_axis(
            lambda line, centres=centres, length=length: np.interp(
                np.arange(length), centres, line
            ),
            axis,
            result,
        )
    return result


def rim(inside: np.ndarray) -> np.ndarray:
    """Voxels within 1 mm of the other side; only neighbours along the first axis are (0.7 mm)."""
    found = np.zeros_like(inside)
    found[1:] |= inside[1:] != inside[:-1]
    found[:-1] |= inside[1:] != inside[:-1]
    return found


@pytest.mark.parametrize("ndim", [2, 3])
def test_equals_a_rewrite_in_numpy(ndim: int, tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, shape=(12, 11, 9)[:ndim], ndim=ndim)
    maps = maps_of(lab)
    assert esegeta("dissect", lab.write()).exit_code == 0
    found, units = pairs(lab), table(lab, "units.csv")
    truths = [np.asarray(load_truth(lab, name)) for name in ("a", "b")]
    concepts = {
        "one": [truth == 1 for truth in truths],
        "any": [truth > 0 for truth in truths],
        "rim": [rim(truth == 1) for truth in truths],
        "rest": [truth == 0 for truth in truths],
    }
    thresholds = {(row["layer"], int(row["unit"])): row["threshold"] for row in units}
    for layer in ("model.0", "model.1.submodule", "model.2"):
        for unit in range(len(maps[0][layer][0])):
            native = np.concatenate([case[layer][0][unit][inner(case[layer][1])] for case in maps])
            n = native.size
            k = n - math.ceil((1 - QUANTILE) * n) + 1
            level = np.sort(native)[n - k]
            assert float(thresholds[layer, unit]) == float(level)
            above = [at_voxels(*case[layer])[unit] > level for case in maps]
            for name, masks in concepts.items():
                both = sum(int((v & m).sum()) for v, m in zip(above, masks, strict=True))
                union = sum(int((v | m).sum()) for v, m in zip(above, masks, strict=True))
                assert found[layer, unit, name]["iou"] == pytest.approx(both / union, abs=1e-12)


def test_per_image_tables_equal_a_rewrite(tmp_path: Path) -> None:
    """M = {a >= T} of each image, on maps of which no threshold is the smallest activation."""
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(layers=["model.2"], per_image={"threshold": "dataset"})
    maps = maps_of(lab)
    assert esegeta("dissect", lab.write()).exit_code == 0
    unit_thresholds = [float(row["threshold"]) for row in table(lab, "units.csv")]
    rows = {(r["case"], r["unit"], r["concept"]): r for r in table(lab, "per_image.csv")}
    for name, case in zip("ab", maps, strict=True):
        truth = load_truth(lab, name) > 0
        for unit, (data, level) in enumerate(zip(case["model.2"][0], unit_thresholds, strict=True)):
            above = data >= level
            expected = (above & truth).sum() / (above | truth).sum()
            assert float(rows[name, str(unit), "any"]["iou"]) == pytest.approx(expected)


def inner(grid: Any) -> Any:
    """Return the positions whose centre is in the volume, as one line of values each case."""
    parts = []
    for axis, length in enumerate(grid.windows.shape):
        low, stride = grid.windows.padding[axis][0], grid.stride[axis]
        centres = stride * (np.arange(grid.shape[axis]) + 0.5) - 0.5 - low
        parts.append((centres >= -0.5) & (centres < length - 0.5))
    mask = parts[0]
    for part in parts[1:]:
        mask = mask[..., None] & part
    return mask


def load_truth(lab: Lab, name: str) -> np.ndarray:
    return voxels(lab.folder / f"{name}_label.nii.gz")


OTHERWISE = {
    "histograms and small portions": {"memory_mb": 0.02, "chance": {"samples": 1}},
    "nothing kept on disk": {"disk_mb": 0},
    "some kept on disk": {"disk_mb": 0.02},
}


@pytest.mark.parametrize("name", OTHERWISE)
@pytest.mark.slow
def test_memory_and_disk_change_nothing(name: str, tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    change = OTHERWISE[name]
    lab.keys["dissection"]["chance"] = change.get("chance", lab.keys["dissection"]["chance"])
    assert esegeta("dissect", lab.write()).exit_code == 0
    expected = {path: table(lab, path) for path in ("units.csv", "pairs.csv", "concepts.csv")}
    lab.keys["dissection"].update(change)
    result = esegeta("dissect", lab.write(), "--overwrite")
    assert result.exit_code == 0, result.output
    assert ("pass 2" in result.stdout) == name.startswith("histograms")
    for path, rows in expected.items():
        assert table(lab, path) == rows


@pytest.mark.parametrize("ndim", [2, 3])
def test_windows_change_nothing_for_a_pointwise_network(ndim: int, tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, shape=(12, 11, 9)[:ndim], ndim=ndim)
    lab.keys["model"] = {
        "kind": "monai",
        "network": "UNet",
        "args": {
            "spatial_dims": ndim,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [6, 6],
            "strides": [1],
            "kernel_size": 1,
            "up_kernel_size": 1,
            "norm": "BATCH",
        },
    }
    lab.keys["dissection"]["layers"] = ["model.0", "model.2"]
    esegeta("dissect", lab.write())
    windowed = pairs(lab)
    lab.keys["inference"]["window"] = [12, 11, 9][:ndim]
    lab.keys["inference"]["blend"] = "constant"
    esegeta("dissect", lab.write())
    for key, row in pairs(lab).items():
        assert row["iou"] == pytest.approx(windowed[key]["iou"], abs=0.01), key


def test_thresholds_of_upsampled_maps(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"]["upsample"] = "upsampled"
    maps = maps_of(lab)
    assert esegeta("dissect", lab.write()).exit_code == 0
    for row in table(lab, "units.csv"):
        layer, unit = row["layer"], int(row["unit"])
        values = torch.cat(
            [
                grid.to_voxels(torch.from_numpy(data[unit][None])).flatten()
                for data, grid in (case[layer] for case in maps)
            ]
        )
        n = values.numel()
        k = n - math.ceil((1 - QUANTILE) * n) + 1
        assert float(row["threshold"]) == float(values.kthvalue(n - k + 1).values)


def test_no_unit_is_named_for_shuffled_labels(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path)
    lab.keys["dissection"].update(min_iou=0, chance={"samples": 199})
    assert esegeta("dissect", lab.write()).exit_code == 0
    found = pairs(lab)
    p = np.array([row["p"] for (_, _, concept), row in found.items() if concept == "one"])
    assert 0.2 < np.nanmean(p) < 0.8
    assert [row["named"] for row in table(lab, "units.csv")].count("1") == 0
