"""MiSuRe keeps Dice at tau with the smallest region it finds; refuses where that means nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from esegeta.errors import EmptyTargetError, MapError, TargetError
from esegeta.explain import MiSuRe, Objective
from esegeta.explain.perturbation.sufficiency import LabelDice, Surrounded
from esegeta.model import Labels
from esegeta.predict import Predictor
from esegeta.targets import Component, Predicted, VoxelTarget
from esegeta.volume import Volume, volume_from_tensor
from tests.builders import SHAPES, predictor, scene, unet, volume
from tests.networks import Counting
from tests.oracles import everywhere, frozen, monai_prediction, relative_gap

pytestmark = pytest.mark.usefixtures("whole_windows")


class Bright(nn.Module):
    """Predicts "one" where the image, averaged over `reach` along an axis, exceeds a half."""

    def __init__(self, ndim: int, reach: int = 0) -> None:
        super().__init__()
        conv = nn.Conv2d if ndim == 2 else nn.Conv3d
        kernel = (2 * reach + 1, *[1] * (ndim - 1))
        self.mean = conv(1, 1, kernel, padding=(reach, *[0] * (ndim - 1)), bias=False)
        nn.init.constant_(self.mean.weight, 1 / (2 * reach + 1))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        evidence = 20 * (self.mean(x) - 0.5)
        return torch.cat([-evidence, evidence], dim=1)


def bright_box(ndim: int, *, reach: int = 0) -> tuple[Predictor, Volume]:
    """A bright box in a dark image."""
    data = torch.zeros(1, *(24, 16, 8)[:ndim])
    data[(0, slice(4, 12), slice(4, 12), slice(2, 6))[: ndim + 1]] = 1.0
    return predictor(Bright(ndim, reach), (8,) * ndim), volume_from_tensor(data)


def dice_by_hand(model: Predictor, image: Volume, kept: Tensor, baseline: float) -> float:
    with torch.no_grad():
        blended = kept * image.data + (1 - kept) * baseline
        one, before = (
            monai_prediction(model, data[None]).argmax(dim=1) == 1 for data in (blended, image.data)
        )
    return float(2 * (one & before).sum() / (one.sum() + before.sum()))


@pytest.mark.parametrize("tau", [0.8, 0.95])
@pytest.mark.slow
def test_tau_is_kept_and_the_region_shrinks(ndim: int, tau: float) -> None:
    model, image = bright_box(ndim)
    found = MiSuRe(tau=tau, steps=25, cell=2, baseline="zero").explain(
        model, image, frozen(model, image, everywhere())
    )
    more = found.facts.more
    assert more["dice"] == pytest.approx(dice_by_hand(model, image, found.data, 0.0), abs=1e-6)
    assert more["dice"] >= tau
    assert more["area"] < more["area_dilated"]
    assert more["dice_baseline"] == 0
    # The dilated label holds all that is bright: nothing further away is ever kept.
    assert found.data.min() == 0 and found.data.max() <= 1
    crisp = (found.data >= more["crisp_threshold"]).float()
    assert more["dice_crisp"] == pytest.approx(dice_by_hand(model, image, crisp, 0.0), abs=1e-6)
    ml = image.grid.voxel_volume_ml
    assert more["volume_ml"] == pytest.approx(float(found.data.sum()) * ml, rel=1e-5)
    assert more["volume_label_ml"] == pytest.approx(float((image.data > 0).sum()) * ml)
    assert not found.warnings


@pytest.mark.slow
def test_bright_voxels_fade_to_just_above_a_half() -> None:
    """Each voxel speaks for itself: a mask of 1/2 keeps it, and tau allows a few to go."""
    model, image = bright_box(2)
    found = MiSuRe(tau=0.9, steps=80, rate=0.02, cell=1, tv=0.0, baseline="zero").explain(
        model, image, frozen(model, image, everywhere())
    )
    bright = image.data > 0.5
    assert found.facts.more["dilations"] == 0
    assert found.data[~bright].max() == 0
    assert 0.4 < found.data[bright].mean() < 0.62


def test_dilation_adds_the_context_that_is_needed() -> None:
    """The mean over five voxels needs the bright neighbours of what is predicted."""
    data = torch.zeros(1, 24, 8)
    data[:, 8:16] = 1.0
    data[:, 4:8] = 0.45
    data[:, 16:20] = 0.45
    image = volume_from_tensor(data)
    model = predictor(Bright(2, reach=3), (24, 8))
    target = frozen(model, image, everywhere())
    found = MiSuRe(tau=0.98, steps=10, cell=1, baseline="zero").explain(model, image, target)
    assert found.facts.more["dilations"] > 0
    assert found.facts.more["dice"] >= 0.98
    predicted = target.scene.logits.argmax(dim=1)[0] == 1
    assert (found.data[0] > 0)[~predicted].any()


def test_without_a_sufficient_threshold_all_kept_voxels_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("esegeta.explain.perturbation.misure.THRESHOLDS", (1.1,))
    model, image = bright_box(2)
    found = MiSuRe(tau=0.9, steps=2, cell=2, baseline="zero").explain(
        model, image, frozen(model, image, everywhere())
    )
    more = found.facts.more
    assert more["crisp_threshold"] == 0
    crisp = (found.data > 0).float()
    assert more["dice_crisp"] == pytest.approx(dice_by_hand(model, image, crisp, 0.0), abs=1e-6)


def test_dice_counts_the_label_within_the_targets_mask() -> None:
    data = torch.zeros(1, 24, 8)
    data[:, 2:8] = 1.0
    data[:, 14:18] = 1.0
    image = volume_from_tensor(data)
    model = predictor(Bright(2), (8, 8))
    one = frozen(model, image, VoxelTarget("one", over=Component(1)))
    found = MiSuRe(tau=0.9, steps=10, cell=2, baseline="zero").explain(model, image, one)
    assert found.data[0, :10].max() > 0.4
    assert found.data[0, 11:].max() == 0
    assert found.facts.more["volume_label_ml"] == pytest.approx(48 * image.grid.voxel_volume_ml)
    whole = LabelDice.of(one)
    assert whole.hard(one.scene.logits) == 1
    both = MiSuRe(tau=0.9, steps=10, cell=2, baseline="zero").explain(
        model, image, frozen(model, image, VoxelTarget("one", over=Predicted()))
    )
    assert both.data[0, 14:18].max() > 0.4


def test_predictions_around_a_region_equal_those_of_the_composed_image(ndim: int) -> None:
    model, image = bright_box(ndim, reach=1)
    objective = Objective.of(model, frozen(model, image), image)
    baseline = torch.rand_like(image.data)
    region = torch.zeros(image.grid.shape, dtype=torch.bool)
    near = Surrounded.by(objective, baseline)
    for stop in (6, 9, 20):
        region[:stop, :5] = True
        near = near.grown(region.clone())
        data = torch.where(region, image.data, baseline)
        expected = monai_prediction(model, data[None])
        assert relative_gap(near.predict(data), expected) < 1e-6
    first = near.grown(torch.zeros_like(region).index_fill(0, torch.tensor([0]), True))
    assert 0 < len(first.active) < len(objective.windows)
    slope = first.pull_back(baseline, torch.ones_like(expected))
    assert slope.shape == image.data.shape


def test_far_windows_are_run_once() -> None:
    data = torch.zeros(1, 64, 8)
    data[:, 2:5, 2:6] = 1.0
    image = volume_from_tensor(data)
    model = predictor(Bright(2), (8, 8), overlap=0.5)
    target = frozen(model, image, everywhere())
    assert target.scene.logits.shape[-1] == 8
    network = Counting(model.network)
    found = MiSuRe(tau=0.5, steps=4, cell=1, rate=0.01, baseline="zero").explain(
        replace(model, network=network), image, target
    )
    windows = found.facts.num_windows
    touched = 2
    # The baseline; its part in the region, the dilated label twice, four steps; the first cut.
    assert network.windows == found.facts.windows_run == windows + touched * (1 + 2 + 4 * 2 + 1)


def test_meaningless_targets_and_baselines_are_refused() -> None:
    model, image = bright_box(2)
    target = frozen(model, image, everywhere())
    with pytest.raises(TargetError, match="not about one label"):
        MiSuRe().explain(model, image, (everywhere() * 2.0 - everywhere()))
    with pytest.raises(MapError, match="the baseline alone keeps Dice at"):
        bright = image.with_data(image.data + 0.35)
        MiSuRe(baseline="mean", tau=0.25).explain(
            model, bright, frozen(model, bright, everywhere())
        )
    with pytest.raises(EmptyTargetError):
        dark = image.with_data(torch.zeros_like(image.data))
        MiSuRe().explain(model, dark, frozen(model, dark, everywhere()))
    with pytest.raises(MapError, match="even the whole image keeps Dice only at"):
        other = image.with_data(image.data.flip(1))
        MiSuRe(baseline="zero", cell=2).explain(model, other, target)


def test_dice_is_1_on_the_image_itself_whatever_postprocessing_takes_off(ndim: int) -> None:
    shape = SHAPES[ndim]
    y = torch.full((1, 2, *shape), -1.0)
    y[0, 1][(slice(1, 6), slice(1, 6), slice(1, 6))[:ndim]] = 1.0
    y[0, 1][(3,) * ndim] = -1.0  # a hole, filled
    y[0, 1][(-1,) * ndim] = 1.0  # a speck, taken off
    at = scene(y, activation="sigmoid")
    steps = {"keep_largest": True, "fill_holes": True}
    labels = Labels.of({1: "one", 2: "two"}, "sigmoid", 2, postprocessing=steps)
    at = replace(at, predictor=replace(at.predictor, labels=labels))
    target = VoxelTarget("two").freeze(at)
    dice = LabelDice.of(target)
    assert bool(target.mask[(3,) * ndim]) and not bool(target.mask[(-1,) * ndim])
    assert dice.hard(y) == 1
    assert dice.hard(-y) < 1


@pytest.mark.slow
def test_any_batch_has_the_same_map() -> None:
    """Windows summed in fours are rounded otherwise, and each step hangs on whether Dice holds."""
    image = volume((24, 24))
    maps = []
    for size in (1, 4):
        model = predictor(unet(2, "relu_instance"), (8, 8), batch_size=size)
        target = frozen(model, image, everywhere())
        found = MiSuRe(tau=0.95, steps=6, cell=2, baseline="mean").explain(model, image, target)
        maps.append(found.data)
    assert torch.equal(maps[0], maps[1])
