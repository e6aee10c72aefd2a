"""Surrogates: planted rules come back, noise is told to be noise; readable features are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from esegeta.examples import (
    SurrogateData,
    describe_regions,
    fit_surrogate,
    measure_fidelity,
    slab_groups,
)
from esegeta.volume import load_volume, volume_from_tensor

NAMES = ("brightness", "volume_ml", "depth_mm", "noise")


def table(question: str, answers: np.ndarray, values: np.ndarray) -> SurrogateData:
    groups = np.arange(len(answers)) % 4
    return SurrogateData(NAMES, values, answers.astype(float), groups, question)


def values_of(count: int = 120) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (count, 4))


def test_a_tree_recovers_a_planted_rule() -> None:
    values = values_of()
    planted = (values[:, 0] > 0.6) & (values[:, 2] < 0.5)
    found = table("presence", planted, values)
    fidelity = measure_fidelity(found, "tree", 2)
    assert fidelity.value > 0.9
    assert fidelity.num_positive == planted.sum()
    tree = fit_surrogate(found, "tree", 2)
    weights = dict(zip(tree.features, tree.weights, strict=True))
    assert weights["brightness"] + weights["depth_mm"] == pytest.approx(1.0)
    inner = tree.model.tree_
    rule = {
        NAMES[feature]: threshold
        for feature, threshold in zip(inner.feature, inner.threshold, strict=True)
        if feature >= 0
    }
    assert rule["brightness"] == pytest.approx(0.6, abs=0.05)
    assert rule["depth_mm"] == pytest.approx(0.5, abs=0.05)


def test_a_sparse_linear_model_recovers_planted_features() -> None:
    values = values_of()
    presence = table("presence", 2 * values[:, 0] - values[:, 2] > 0.5, values)
    assert measure_fidelity(presence, "linear", 1).value > 0.7
    weights = dict(zip(NAMES, fit_surrogate(presence, "linear", 1).weights, strict=True))
    assert weights["brightness"] > 0 > weights["depth_mm"]
    assert abs(weights["noise"]) < 0.1 * weights["brightness"]
    dice = table("dice", 0.5 + 0.4 * values[:, 1], values)
    assert measure_fidelity(dice, "linear", 1).value > 0.9
    of_dice = fit_surrogate(dice, "linear", 1).weights
    assert [bool(weight) for weight in of_dice] == [False, True, False, False]


@pytest.mark.parametrize("kind", ["tree", "linear"])
def test_noise_has_no_fidelity(kind: str) -> None:
    values = values_of()
    random = np.random.default_rng(1)
    presence = table("presence", random.uniform(size=len(values)) > 0.5, values)
    assert measure_fidelity(presence, kind, 3).value < 0.3
    dice = table("dice", random.uniform(size=len(values)), values)
    assert measure_fidelity(dice, kind, 3).value < 0.2


def test_fidelity_is_measured_on_held_out_cases() -> None:
    # Every group has a rule of its own: what is learned of the others is wrong on it.
    values = np.tile(np.linspace(0, 1, 40)[:, None], (2, 4))
    answers = np.concatenate([values[:40, 0] > 0.5, values[:40, 0] <= 0.5])
    found = SurrogateData(NAMES, values, answers.astype(float), np.repeat([0, 1], 40), "presence")
    assert measure_fidelity(found, "tree", 2).value == pytest.approx(-1.0, abs=0.1)


def test_slabs_are_side_by_side_and_of_one_size() -> None:
    groups = slab_groups([0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.8, 0.4])
    assert groups.tolist() == [3, 0, 2, 1, 2, 0, 3, 1]


def test_features_of_a_region_are_those_counted_by_hand() -> None:
    data = torch.arange(5 * 4 * 3, dtype=torch.float32).reshape(1, 5, 4, 3)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    volume = volume_from_tensor(data, affine=affine)
    numbers = torch.zeros((5, 4, 3), dtype=torch.int64)
    numbers[0, :2, 0] = 1
    numbers[4, 3, :] = 2
    body = torch.zeros((5, 4, 3), dtype=torch.bool)
    body[:, :, 0] = True
    body[4] = True
    structure = torch.zeros_like(body)
    structure[0, 0, 0] = True
    masks = {"it": structure, "none": torch.zeros_like(body)}
    found = describe_regions(volume, numbers, body, masks)
    values = [data[0][numbers == 1].numpy(), data[0][numbers == 2].numpy()]
    np.testing.assert_allclose(found["mean"], [one.mean() for one in values])
    np.testing.assert_allclose(found["sd"], [one.std() for one in values])
    np.testing.assert_allclose(found["p90"], [np.quantile(one, 0.9) for one in values])
    np.testing.assert_allclose(found["volume_ml"], [2 * 0.024, 3 * 0.024])
    np.testing.assert_allclose(found["left_to_right"], [0, 1])
    np.testing.assert_allclose(found["posterior_to_anterior"], [0.5 / 3, 1])
    np.testing.assert_allclose(found["inferior_to_superior"], [0, 0.5])
    away = [np.hypot(np.hypot(8, 9), 4 * z) for z in range(3)]
    np.testing.assert_allclose(found["to_it_mm"], [1.5, np.mean(away)])
    farthest = np.linalg.norm([10, 12, 12])
    np.testing.assert_allclose(found["to_none_mm"], [farthest, farthest])
    # The nearest voxel outside is above the first region, and beside the second one's upper ones.
    np.testing.assert_allclose(found["depth_mm"], [4.0, np.mean([np.hypot(2, 4), 2, 2])])


@pytest.mark.parametrize("kind", ["tree", "linear"])
def test_a_surrogate_trained_on_one_class_predicts_it(kind: str) -> None:
    """The label is in all of one case and nowhere in the other: each misleads about the other."""
    values = values_of(40)
    groups = np.repeat([0, 1], 20)
    presence = SurrogateData(NAMES, values, groups.astype(float), groups, "presence")
    fidelity = measure_fidelity(presence, kind, 2)
    assert (fidelity.sensitivity, fidelity.specificity, fidelity.value) == (0.0, 0.0, -1.0)
    answers = np.where(groups == 0, 0.25, 0.75)
    dice = SurrogateData(NAMES, values, answers, groups, "dice")
    # Each is off by 0.5, and all by 0.25 from their mean.
    assert measure_fidelity(dice, kind, 2).value == pytest.approx(1 - 0.5**2 / 0.25**2)


def test_an_image_of_one_grey_value_has_no_texture() -> None:
    volume = volume_from_tensor(torch.full((1, 5, 4, 3), 7.0))
    numbers = torch.ones((5, 4, 3), dtype=torch.int64)
    found = describe_regions(volume, numbers, numbers > 0, {})
    assert [found[name].tolist() for name in ("mean", "sd", "edges", "entropy")] == [
        [7.0],
        [0.0],
        [0.0],
        [0.0],
    ]
    assert "depth_mm" not in found  # there is no outside


def test_regions_of_a_picture_are_told_in_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.arange(30, dtype=np.uint8).reshape(5, 6)).save(tmp_path / "a.png")
    volume = load_volume(tmp_path / "a.png", picture_axes="yx")
    numbers, body = (torch.zeros((5, 6), dtype=torch.int64) for _ in range(2))
    numbers[1, 1:4] = 1
    numbers[4, 5] = 2
    body[1:, 1:] = 1
    found = describe_regions(volume, numbers, body > 0, {"it": numbers == 2})
    assert found["voxels"].tolist() == [3, 1]
    # Of the box around the body, which begins at (1, 1) and is 3 and 4 pixels long.
    np.testing.assert_allclose(found["along_columns"], [0, 1])
    np.testing.assert_allclose(found["along_rows"], [0.25, 1])
    away = [np.hypot(3, 5 - column) for column in (1, 2, 3)]
    np.testing.assert_allclose(found["to_it_px"], [np.mean(away), 0])
    assert not {name for name in found if name.endswith(("_ml", "_mm", "_right", "_superior"))}
