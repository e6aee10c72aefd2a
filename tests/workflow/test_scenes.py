"""Scenes for 3D Slicer: one a case and target, of the maps that are there."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.experiments import Lab, pointwise_lab


def lab_of(folder: Path, ndim: int = 3) -> Lab:
    shape = (12, 10, 8)[:ndim]
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0], shape=shape, ndim=ndim)
    lab.keys["methods"] = ["saliency", "input_x_gradient"]
    return lab


def scene(lab: Lab) -> Path:
    return lab.root / "a" / "a_liver.mrb"


def contents(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as bundle:
        return {name.partition("/Data/")[2] for name in bundle.namelist() if "/Data/" in name}


def test_a_scene_holds_the_image_the_segmentation_and_all_maps(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.run()
    found = contents(scene(lab))
    image = Path(lab.keys["data"]["cases"][0]["image"]).name
    assert f"image1_{image}" in found
    assert "a_desc-prediction.seg.nrrd" in found
    for method in ("saliency", "input_x_gradient"):
        assert f"a_label-liver_desc-{method}_attrmap.nii.gz" in found


@pytest.mark.slow
def test_a_scene_is_written_again_only_if_its_maps_change(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.run()
    before = scene(lab).stat().st_mtime_ns
    lab.run()
    assert scene(lab).stat().st_mtime_ns == before
    lab.keys["methods"].append("edge_map")
    lab.run()
    assert "a_label-liver_desc-edge_map_attrmap.nii.gz" in contents(scene(lab))
    scene(lab).write_bytes(b"torn")
    lab.run()
    assert contents(scene(lab))


def test_maps_that_failed_are_left_out(tmp_path: Path) -> None:
    lab = lab_of(tmp_path)
    lab.keys["methods"].append("guided_backprop")  # of which a network without ReLU has nothing
    assert lab.run().exit_code == 1
    assert not any("guided" in name for name in contents(scene(lab)))


@pytest.mark.parametrize("reason", ["asked not to", "2d"])
def test_no_scene_is_written_if_unwanted_or_in_2d(reason: str, tmp_path: Path) -> None:
    lab = lab_of(tmp_path, 2 if reason == "2d" else 3)
    if reason == "asked not to":
        lab.keys["scene"] = False
    assert lab.run().exit_code == 0
    assert not list(lab.root.rglob("*.mrb"))
