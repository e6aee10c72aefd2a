"""The gallery draws every method of a run on one slice, whatever the run."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.image
import numpy as np
import pytest

from tests.builders import affine_of
from tests.experiments import noise, quick, save_image, unet_lab

__all__ = ["quick"]

SCRIPT = Path(__file__).parents[2] / "scripts" / "gallery.py"


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.slow
def test_every_method_has_a_picture_and_every_family_a_sheet(
    gallery: ModuleType, ndim: int, tmp_path: Path
) -> None:
    lab = unet_lab(tmp_path, shape=(12, 11, 9)[:ndim], ndim=ndim)
    lab.keys["targets"] = [
        {"name": "part", "label": "liver", "over": "all"},
        {"name": "other", "label": "liver", "of": "probability", "over": "all"},
    ]
    lab.keys["methods"] = [
        "saliency",
        {"name": "saliency", "id": "again"},
        {"name": "occlusion", "box": 4},
    ]
    assert lab.run().exit_code == 0
    out = tmp_path / "images"
    files = gallery.draw_gallery(lab.root, out, case=None, target="other")
    names = [str(path.relative_to(out)) for path in files]
    assert names == [
        "methods/saliency.png",
        "methods/again.png",
        "methods/occlusion.png",
        "methods_gradient.png",
        "methods_perturbation.png",
        "methods.png",
    ]
    one, same, different = (matplotlib.image.imread(path)[..., :3] for path in files[:3])
    # The same map gives the same picture but for the name below (and what colours it costs).
    above = int(one.shape[0] * 0.75)
    assert one.shape == different.shape
    apart = np.abs(one[:above] - different[:above]).mean()
    assert apart > 0.01
    assert np.abs(one[:above] - same[:above]).mean() < 0.1 * apart
    assert all(path.stat().st_size < 300_000 for path in files)


def test_the_frame_surrounds_the_largest_part_of_the_label(gallery: ModuleType) -> None:
    mask = np.zeros((60, 50, 9), dtype=bool)
    mask[20:31, 25:36, 2:7] = True
    mask[1:3, 1:3, 8] = True
    spacing, margin = (2.0, 3.0, 5.0), gallery.MARGIN_MM
    voxel, frame = gallery.choose_frame(mask, [], spacing)
    assert voxel == (25, 30, 4)
    assert frame == (40 - margin, 62 + margin, 75 - margin, 108 + margin)
    map_ = np.where(mask, -1.0, 0.05)
    found = gallery.choose_frame(np.zeros_like(mask), [map_, 0 * map_], spacing)
    assert found == (voxel, frame)


def test_images_are_turned_to_the_patients_axes(gallery: ModuleType, tmp_path: Path) -> None:
    array = noise((6, 5, 4))
    path = save_image(tmp_path / "a.nii.gz", array, affine_of("flipped"))
    found, grid = gallery.read(path)
    assert np.array_equal(found, array[::-1])
    assert grid.spacing_mm == pytest.approx((0.7, 1.9, 3.1))


@pytest.mark.usefixtures("quick")
@pytest.mark.slow
def test_a_missing_map_or_image_is_refused(gallery: ModuleType, tmp_path: Path) -> None:
    lab = unet_lab(tmp_path)
    lab.keys["targets"] = [{"name": "part", "label": "liver", "over": "all"}]
    assert lab.run().exit_code == 0
    with pytest.raises(SystemExit, match="no map of case a, target brain"):
        gallery.draw_gallery(lab.root, tmp_path, case="a", target="brain")
    (tmp_path / "a.nii.gz").unlink()
    with pytest.raises(SystemExit, match="the image is not here"):
        gallery.draw_gallery(lab.root, tmp_path, case=None, target=None)


def test_a_label_of_several_integers_has_its_outline(gallery: ModuleType, tmp_path: Path) -> None:
    keys = {"labels": {"vessel": [1, 2]}, "targets": [{"name": "thin", "label": "vessel"}]}
    (tmp_path / "run.json").write_text(json.dumps({"config": keys}))
    (tmp_path / "p1").mkdir()
    painted = np.zeros((4, 3, 2), np.uint8)
    painted[1:3, 1] = 1
    save_image(tmp_path / "p1" / "p1_desc-prediction_dseg.nii.gz", painted, np.eye(4))
    table = tmp_path / "p1" / "p1_desc-prediction_dseg.tsv"
    table.write_text("index\tname\tcolor\n0\tbackground\t#000000\n1\tvessel\t#e69f00\n")
    found = gallery.outline_of(tmp_path, {"target_name": "thin", "case": "p1"}, painted.shape)
    assert np.array_equal(found, painted == 1)
