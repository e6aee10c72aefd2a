"""Frozen targets of the flipped image: the same number, the same voxels, the same windows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esegeta.predict import LinearForm, WindowPlan
from esegeta.targets import (
    Component,
    DiceTarget,
    FrozenTarget,
    Labelled,
    Otsu,
    Scene,
    Target,
    UnitScene,
    UnitTarget,
    VolumeTarget,
    VoxelTarget,
)
from tests.builders import SHAPES, predictor, unet, volume
from tests.oracles import relative_gap, with_coefficients
from tests.targets.cases import noise_logits, noise_scene

TARGETS: dict[str, Target] = {
    "logit": VoxelTarget("one"),
    "mean of the truth": VoxelTarget("two", "margin", Labelled(), "mean"),
    "live": VoxelTarget("one", "probability", live=True),
    "live component": VoxelTarget("one", "entropy", Component(), live=True),
    "otsu": VoxelTarget("one", "log_probability", Otsu()),
    "sum": VoxelTarget("one") - 0.5 * VoxelTarget("two", reduce="mean"),
    "product": VoxelTarget("one") * VoxelTarget("two", "probability"),
    "dice": DiceTarget("one"),
    "volume": VolumeTarget("two"),
}

WHEREVER_IT_LIES = ("live", "live component", "volume")
"""Targets that are not bound to any voxels."""


def frozen(ndim: int, name: str, activation: str = "softmax") -> FrozenTarget:
    return TARGETS[name].freeze(noise_scene(ndim, activation))


@pytest.mark.parametrize("name", TARGETS)
def test_the_flipped_target_of_flipped_logits_is_the_target(
    ndim: int, activation: str, name: str
) -> None:
    target = frozen(ndim, name, activation)
    logits = noise_logits(ndim, 2, seed=3)
    for axis in range(ndim):
        flipped = target.flipped(axis)
        mirrored = logits.flip(axis + 2)
        torch.testing.assert_close(flipped.value(mirrored), target.value(logits))
        same = torch.allclose(flipped.value(logits), target.value(logits))
        assert same == (name in WHEREVER_IT_LIES)
        slope = flipped.slope(mirrored).flip(axis + 2)
        assert relative_gap(slope, target.slope(logits)) < 1e-5
        assert flipped.is_linear == target.is_linear
        assert torch.equal(flipped.mask, target.mask.flip(axis))
        assert (flipped.support is None) == (target.support is None)
        if target.support is not None:
            assert torch.equal(flipped.support, target.support.flip(axis))
        assert flipped.label == target.label
        assert (flipped.sums is None) == (target.sums is None)
        if flipped.sums is not None:  # formed of the whole, as of slabs
            torch.testing.assert_close(flipped.sums.value(mirrored), target.value(logits))
        again = flipped.flipped(axis)
        torch.testing.assert_close(again.value(logits), target.value(logits))


@pytest.mark.parametrize("dense", [False, True])
def test_coefficients_are_flipped_too(ndim: int, dense: bool) -> None:
    target = frozen(ndim, "sum")
    if dense:
        target = with_coefficients(target, torch.randn(3, *SHAPES[ndim]))
    assert isinstance(target.coefficients, Tensor if dense else LinearForm)
    logits = noise_logits(ndim, seed=3)
    for axis in range(ndim):
        flipped = target.flipped(axis)
        form = flipped.coefficients
        assert isinstance(form, Tensor if dense else LinearForm)
        numbers = form if isinstance(form, Tensor) else form.dense()
        value = (numbers.double() * logits[0].double()).sum()
        torch.testing.assert_close(flipped.value(logits)[0], value, rtol=1e-5, atol=1e-5)


def test_touched_windows_are_found_again_after_a_flip() -> None:
    corner = torch.zeros(3, 13, 11)
    corner[1, 0, 0] = 1
    target = with_coefficients(frozen(2, "logit"), corner)
    windows = WindowPlan((4, 4), overlap=0.0).lay((13, 11))
    assert target.touched(windows) == [0]
    assert target.flipped(0).touched(windows) != [0]


def test_the_scene_of_a_flipped_target_is_flipped(ndim: int) -> None:
    scene = noise_scene(ndim)
    target = TARGETS["logit"].freeze(scene)
    for axis in range(ndim):
        flipped = target.flipped(axis).scene
        assert torch.equal(flipped.volume.data, scene.volume.data.flip(axis + 1))
        assert scene.truth is not None
        assert torch.equal(flipped.truth, scene.truth.flip(axis))
        assert flipped.predictor is scene.predictor
        assert flipped.known_logits is None
        assert flipped.known_components == {}
        end = [0] * ndim
        end[axis] = scene.volume.grid.shape[axis] - 1
        assert flipped.volume.grid.to_mm(end) == pytest.approx(scene.volume.grid.to_mm([0] * ndim))


def test_the_flipped_scene_predicts_the_flipped_image(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    scene = Scene(model, volume(SHAPES[ndim]))
    assert scene.logits is not None
    expected = model.logits(scene.volume.data.flip(1)[None])
    torch.testing.assert_close(scene.flipped(0).logits, expected)


def test_a_flipped_unit_scene_is_a_unit_scene(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    scene = Scene(model, volume(SHAPES[ndim]), torch.ones(SHAPES[ndim], dtype=torch.int64))
    target = UnitTarget("model.0.conv", 1).freeze(scene)
    flipped = target.flipped(1).scene
    assert isinstance(flipped, UnitScene)
    assert isinstance(target.scene, UnitScene)
    assert flipped.origin.volume is flipped.volume
    assert flipped.predictor_for(model) is target.scene.predictor
    assert (flipped.layer, flipped.channels) == ("model.0.conv", (1,))


def test_a_flipped_target_can_be_given_another_label() -> None:
    target = frozen(2, "logit")
    assert target.relabelled is not None
    flipped = target.flipped(0)
    assert flipped.relabelled is not None
    logits = noise_logits(2, seed=3)
    found = flipped.relabelled("two").value(logits.flip(2))
    torch.testing.assert_close(found, target.relabelled("two").value(logits))
    assert replace(target, relabelled=None).flipped(0).relabelled is None
