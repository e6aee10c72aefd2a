"""Boxes, orders of axes, splines and steps through the whole command line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders import affine_of
from tests.experiments import Lab, noise, pointwise_lab, save_image, voxels, weighted_lab
from tests.volume.references import nonzero_box, nonzero_mask

SHAPE = (9, 10, 8)
BOX = (slice(2, 8), slice(1, 9), slice(3, 7))


def head(seed: int = 0) -> np.ndarray:
    """Noise in a box, 0 around it."""
    data = np.zeros(SHAPE, dtype=np.float32)
    data[BOX] = noise(SHAPE, seed)[BOX] + 3
    return data


def inside() -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BOX] = True
    return mask


def boxed_lab(folder: Path, *methods: Any) -> tuple[Lab, np.ndarray]:
    """A logit `w . x` over the padded, transposed box; and w on the file's own voxels.

    The box has 6 x 8 x 4 voxels, transposed 4 x 6 x 8, and is given the size 5 x 5 x 8.
    """
    w = torch.from_numpy(noise((5, 5, 8), seed=7))
    lab = weighted_lab(folder, torch.stack([0 * w, w])[:, None], shape=(2, 2, 2))
    save_image(folder / "a.nii.gz", head(), affine_of("oblique"))
    lab.keys["data"]["preprocess"] = {
        "crop": "foreground",
        "transpose": [2, 0, 1],
        "crop_or_pad": {"size": [5, 5, 8], "value": -4.0},
    }
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = list(methods)
    on_file = np.zeros(SHAPE, dtype=np.float32)
    # 4 voxels become 5 by one behind them, 6 become 5 without the first.
    on_file[3:8, 1:9, 3:7] = np.transpose(w.numpy()[:4], (1, 2, 0))
    return lab, on_file


@pytest.mark.slow
def test_the_map_of_a_linear_network_is_its_weights_and_0_outside_the_crop(
    tmp_path: Path,
) -> None:
    lab, w = boxed_lab(tmp_path, "saliency", "input_x_gradient")
    assert lab.run().exit_code == 0
    np.testing.assert_allclose(lab.map("a", "liver", "saliency"), w, rtol=1e-5, atol=1e-6)
    product = lab.map("a", "liver", "input_x_gradient")
    np.testing.assert_allclose(product, w * head(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(lab.segmentation("a") == 1, w * head() > 0)
    grid = lab.sidecar("a", "liver", "saliency")["grid"]
    assert "5x5x8 voxels" in grid["network"]
    assert grid["resampling"].endswith("0 where preprocessing cut the image off")


def test_a_baseline_file_is_cropped_to_the_box_of_the_image(tmp_path: Path) -> None:
    # Its own foreground is everything; the integral is w * (x - baseline) within the image's.
    method = {"name": "integrated_gradients", "steps": 2, "baseline": {"file": "b.nii.gz"}}
    lab, w = boxed_lab(tmp_path, method)
    other = noise(SHAPE, 5) + 20
    save_image(tmp_path / "b.nii.gz", other, affine_of("oblique"))
    assert lab.run().exit_code == 0
    found = lab.map("a", "liver", "integrated_gradients")
    np.testing.assert_allclose(found, w * (head() - other), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("keys", [{}, {"spacing_mm": [0.7, 1.9, 3.1], "order": 3}])
@pytest.mark.slow
def test_label_maps_rois_and_atlases_are_preprocessed_like_the_image(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [3.0]], [0.0, 0.0])
    save_image(tmp_path / "a.nii.gz", head(), affine_of("anisotropic"))
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[4:9, 5:10, 2:6] = 1  # partly beyond the crop
    save_image(tmp_path / "seg.nii.gz", labels, affine_of("anisotropic"))
    lab.keys["data"]["cases"][0]["label"] = "seg.nii.gz"
    lab.keys["data"]["preprocess"] = {"crop": "foreground", "transpose": [1, 2, 0], **keys}
    if keys:
        lab.keys["data"]["preprocess"]["spacing_mm"] = [1.9, 3.1, 0.7]
    lab.keys["targets"] = [
        {"name": "truth", "label": "liver", "over": "label"},
        {"name": "roi", "label": "liver", "over": "roi", "roi": "seg.nii.gz"},
    ]
    lab.keys["aggregate"] = {"atlases": {"organs": "seg.nii.gz", "own": "label"}}
    assert lab.run().exit_code == 0
    expected = 3.0 * (labels == 1) * inside()
    for target in ("truth", "roi"):
        found = lab.map("a", target, "saliency")
        np.testing.assert_allclose(found, expected, atol=1e-6)
    rows = [line.split(",") for line in (lab.root / "regions.csv").read_text().splitlines()]
    place = {name: column for column, name in enumerate(rows[0])}
    volumes = [
        float(row[place["volume_ml"]])
        for row in rows[1:]
        if row[place["atlas"]] in ("organs", "own") and row[place["region"]] in ("1", "liver")
    ]
    volume_ml = (expected > 0).sum() * 0.7 * 1.9 * 3.1 / 1000
    assert len(volumes) == 4  # two targets by two atlases
    np.testing.assert_allclose(volumes, volume_ml, rtol=1e-4)


def test_intensity_steps_apply_to_their_channels(tmp_path: Path) -> None:
    # The logit is t1 + 100 flair; its products with the input show what it was given.
    lab = pointwise_lab(tmp_path, [[0.0, 0.0], [1.0, 100.0]], [0.0, 0.0])
    data = {"t1": head(), "flair": head(1)}
    for name, array in data.items():
        save_image(tmp_path / f"{name}.nii.gz", array)
    lab.keys["data"]["cases"] = [{"name": "a", "image": ["t1.nii.gz", "flair.nii.gz"]}]
    lab.keys["data"]["channels"] = ["t1", "flair"]
    lab.keys["data"]["preprocess"] = {
        "intensity": [
            {"zscore": {"over": "foreground"}, "channels": ["flair"]},
            {"window": [2, 4], "channels": ["t1"]},
        ]
    }
    lab.keys["targets"][0]["over"] = "all"
    lab.keys["methods"] = ["input_x_gradient"]
    assert lab.run().exit_code == 0
    mask = nonzero_mask(np.stack(list(data.values())))
    values = data["flair"][mask].astype(np.float64)
    flair = np.where(mask, (data["flair"] - values.mean()) / values.std(), data["flair"])
    expected = {"t1": np.clip((data["t1"] - 2) / 2, 0, 1), "flair": 100 * flair}
    for name, array in expected.items():
        path = lab.file("a", "liver", "input_x_gradient").name
        path = path.replace("_desc-", f"_chan-{name}_desc-")
        np.testing.assert_allclose(voxels(lab.root / "a" / path), array, rtol=1e-4, atol=1e-4)


def test_validate_prints_the_grid_of_each_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [3.0]], [0.0, 0.0], cases=2)
    save_image(tmp_path / "a.nii.gz", head())
    result = lab.validate()
    assert "  b: the network sees 12x11x9 voxels of 0.7x1.9x3.1 mm, as in the file" in result.stdout
    lab.keys["data"]["preprocess"] = {"crop": "foreground", "crop_or_pad": [7, 7, 7]}
    result = lab.validate()
    assert result.exit_code == 0
    words = "  a: the network sees 7x7x7 voxels of 0.7x1.9x3.1 mm, the file has 9x10x8 voxels of"
    assert words in result.stdout
    lab.keys["data"]["preprocess"] = {"crop": {"margin": 1, "when": "after_resampling"}}
    assert "  a: the network sees 8x10x6 voxels" in lab.validate().stdout
    assert tuple(part.stop - part.start + 2 for part in nonzero_box(head()[None]))[::2] == (8, 6)
    # Where no crop depends on them, voxels are not read.
    monkeypatch.setattr("esegeta.workflow.preprocess.read_volume", None)
    lab.keys["data"]["preprocess"] = {
        "spacing_mm": [1.4, 1.9, 0.62],
        "order": 3,
        "separate_axis": "auto",
    }
    result = lab.validate()
    words = "  b: the network sees 6x11x45 voxels of 1.4x1.9x0.62 mm, the file has 12x11x9 voxels"
    assert words in result.stdout


@pytest.mark.parametrize("command", ["run", "validate"])
@pytest.mark.slow
def test_an_empty_crop_is_refused_with_its_line(command: str, tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "a.nii.gz", np.full((6, 5, 4), 2.5, dtype=np.float32))
    lab.keys["data"]["preprocess"] = {"crop": {"above": 40.0}}
    result = lab.run() if command == "run" else lab.validate()
    assert result.exit_code == 2
    words = "a: crop leaves nothing: no voxel is above 40; its values are 2.5 to 2.5"
    shown = " ".join(result.output.split())
    assert f"{lab.config}:{lab.line_of('crop:')}: {words}" in shown
    assert "choose a lower `above`" in shown
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_a_step_that_fails_on_an_image_is_refused_with_its_line(tmp_path: Path) -> None:
    lab = pointwise_lab(tmp_path, [[0.0], [1.0]], [0.0, 0.0])
    save_image(tmp_path / "a.nii.gz", head() - 5)
    lab.keys["data"]["preprocess"] = {"intensity": ["none", {"log": True}]}
    result = lab.run()
    assert result.exit_code == 2
    shown = " ".join(result.output.split())
    place = f"{lab.config}:{lab.line_of('log:')}: intensity log: in channel 0 a value is -5"
    assert place in shown


@pytest.mark.slow
def test_another_preprocessing_is_another_result(tmp_path: Path) -> None:
    lab, _ = boxed_lab(tmp_path, "saliency")
    lab.run()
    first = lab.maps()
    lab.run()
    assert lab.maps() == first
    lab.keys["data"]["preprocess"]["crop_or_pad"]["value"] = -3.0
    lab.run()
    assert lab.maps() != first
