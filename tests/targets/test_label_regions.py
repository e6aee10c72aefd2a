"""Targets of regions: unions of integers, ignored voxels, thresholds, and masks after all steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.model import Labels
from esegeta.targets import (
    Component,
    DiceTarget,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    Predicted,
    Region,
    Scene,
    VolumeTarget,
    VoxelTarget,
    label_dice,
    split_components,
)
from tests.builders import SHAPES, scene

REGIONS = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": 4}
INTEGERS = {"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)}


def region_scene(ndim: int, activation: str = "sigmoid", **decisions: object) -> Scene:
    """Return a scene of noise whose ground truth holds 0, 1, 2, 4 and 255."""
    outputs = 3 if activation == "sigmoid" else 4
    generator = torch.Generator().manual_seed(2)
    logits = 2 * torch.randn((1, outputs, *SHAPES[ndim]), generator=generator)
    truth = torch.tensor([0, 1, 2, 4, 255])[torch.randint(5, SHAPES[ndim], generator=generator)]
    at = scene(logits, activation=activation, truth=truth)
    labels = Labels.of(REGIONS, activation, outputs, ignore_label=255, **decisions)  # type: ignore[arg-type]
    return replace(at, predictor=replace(at.predictor, labels=labels))


def by_hand(at: Scene, label: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where a label is predicted, where it is true, and where that is known."""
    truth, y = at.truth.numpy(), at.logits[0].numpy()
    if at.labels.activation == "sigmoid":
        predicted = y[list(REGIONS).index(label)] > 0
    else:
        predicted = np.isin(np.array([0, 1, 2, 4])[y.argmax(axis=0)], INTEGERS[label])
    return predicted, np.isin(truth, INTEGERS[label]), truth != 255


@pytest.mark.parametrize("label", REGIONS)
def test_error_regions_use_the_union_and_leave_out_ignored_voxels(
    ndim: int, activation: str, label: str
) -> None:
    at = region_scene(ndim, activation)
    predicted, true, known = by_hand(at, label)
    assert (predicted & ~known).any()
    for region, expected in (
        (Labelled(), true),
        (FalsePositive(), predicted & ~true & known),
        (FalseNegative(), true & ~predicted),
        (Predicted(), predicted),
    ):
        found = region.mask(at, at.logits, label)
        np.testing.assert_array_equal(found.numpy(), expected)
    # None of what is ignored is an error of the network.
    assert not (FalsePositive().mask(at, at.logits, label) & (at.truth == 255)).any()


@pytest.mark.parametrize("label", REGIONS)
def test_dice_is_over_known_voxels(ndim: int, activation: str, label: str) -> None:
    at = region_scene(ndim, activation)
    predicted, true, known = by_hand(at, label)
    both, sizes = (predicted & true).sum(), (predicted & known).sum() + true.sum()
    assert label_dice(at.labels, at.logits, at.truth)[label] == pytest.approx(2 * both / sizes)
    y = at.logits[0].double().numpy()
    p = 1 / (1 + np.exp(-y))
    if activation == "softmax":
        p = np.exp(y) / np.exp(y).sum(axis=0)
        own = p[[[0, 1, 2, 4].index(integer) for integer in INTEGERS[label]]].sum(axis=0)
    else:
        own = p[list(REGIONS).index(label)]
    expected = 2 * own[true].sum() / (own[known].sum() + true.sum())
    frozen = DiceTarget(label).freeze(at)
    assert float(frozen.value(at.logits)) == pytest.approx(expected, rel=1e-5)
    ml = VolumeTarget(label).freeze(at)
    expected = own.sum() * at.volume.grid.voxel_volume_ml
    assert float(ml.value(at.logits)) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_network_of_nested_regions_has_dice_1_and_no_error(ndim: int) -> None:
    at = region_scene(ndim)
    perfect = torch.stack(
        [torch.where(at.labels.truth(at.truth, name), 5.0, -5.0) for name in REGIONS]
    )[None]
    at = replace(at, known_logits=perfect)
    assert label_dice(at.labels, at.logits, at.truth) == dict.fromkeys(REGIONS, 1.0)
    for name in REGIONS:
        for region in (FalsePositive(), FalseNegative()):
            assert not region.mask(at, at.logits, name).any()


@pytest.mark.parametrize("of", ["logit", "probability", "log_probability", "margin", "entropy"])
def test_a_union_of_channels_has_every_quantity_and_its_gradient(of: str) -> None:
    at = region_scene(2, "softmax")
    frozen = VoxelTarget("core", of=of, over=Everywhere(), reduce="mean").freeze(at)
    assert frozen.is_linear is False
    y = torch.randn(2, 4, *SHAPES[2], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(frozen.value, (y,), fast_mode=True)
    # The same network with one channel for the union says the same.
    merged = torch.stack([y[:, 0], y[:, 2], y[:, [1, 3]].logsumexp(dim=1)], dim=1)
    one = scene(torch.zeros(1, 3, *SHAPES[2]))
    other = VoxelTarget("two", of=of, over=Everywhere(), reduce="mean").freeze(one)
    if of not in ("margin", "entropy"):  # they look at the parts
        torch.testing.assert_close(frozen.value(y), other.value(merged))


def test_a_label_of_one_channel_stays_linear_beside_unions() -> None:
    frozen = VoxelTarget("enhancing").freeze(region_scene(2, "softmax"))
    assert frozen.is_linear


def test_otsu_takes_the_probability_of_the_union() -> None:
    at = region_scene(3, "softmax")
    p = at.labels.probability_of(at.logits, "core")[0]
    found = p[Otsu().mask(at, at.logits, "core")]
    assert 0 < len(found) < p.numel()
    assert float(found.min()) > float(p[~Otsu().mask(at, at.logits, "core")].max())


def specks(ndim: int) -> Scene:
    """Return a scene of two boxes of `whole`, the smaller of which falls to a step."""
    y = torch.full((1, 3, *SHAPES[ndim]), -2.0)
    y[0, 0][(slice(1, 5), slice(1, 6), slice(0, 4))[:ndim]] = 1.0
    y[0, 0][(slice(7, 8), slice(8, 10), slice(0, 4))[:ndim]] = 3.0
    at = scene(y)
    labels = Labels.of(REGIONS, "sigmoid", 3, postprocessing={"keep_largest": ["whole"]})
    return replace(at, predictor=replace(at.predictor, labels=labels))


def test_frozen_masks_are_postprocessed_and_live_ones_are_not(ndim: int) -> None:
    at = specks(ndim)
    raw = at.labels.predicted(at.logits, "whole")[0]
    kept = raw & (at.logits[0, 0] < 2)
    frozen = VoxelTarget("whole").freeze(at)
    assert torch.equal(frozen.mask, kept)
    assert float(frozen.value(at.logits)) == pytest.approx(float(kept.sum()))
    live = VoxelTarget("whole", live=True).freeze(at)
    assert torch.equal(live.mask, raw)
    assert float(live.value(at.logits)) == pytest.approx(float(at.logits[0, 0][raw].sum()))
    assert torch.equal(Component().mask(at, at.logits, "whole"), kept)
    assert len(split_components(VoxelTarget("whole"), at)) == 1
    # The logits that are explained are the network's.
    assert torch.equal(frozen.scene.logits, at.logits)


def test_an_empty_prediction_is_not_blamed_on_postprocessing() -> None:
    at = specks(2)
    at = replace(at, known_logits=torch.full_like(at.logits, -1.0))
    with pytest.raises(EmptyTargetError, match="; the network predicts none there, or the region"):
        VoxelTarget("whole").freeze(at)


def test_a_label_is_found_by_its_integer_where_it_has_but_one() -> None:
    at = region_scene(2)
    assert torch.equal(
        Predicted().mask(at, at.logits, 4), Predicted().mask(at, at.logits, "enhancing")
    )
    with pytest.raises(TargetError, match='label "1" is not among the labels'):
        Predicted().mask(at, at.logits, 1)


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (Labelled(), "the ground truth of this case holds none"),
        (FalseNegative(), "the network misses no voxel of it"),
        (FalsePositive(), "the network predicts none beyond the ground truth"),
    ],
)
def test_the_error_of_an_empty_region_gives_the_reason(region: Region, reason: str) -> None:
    at = region_scene(2)
    at = replace(at, known_logits=torch.full_like(at.logits, -1.0))
    truth = torch.zeros_like(at.truth)
    if isinstance(region, FalseNegative):
        at = replace(at, known_logits=torch.ones_like(at.logits))
    with pytest.raises(EmptyTargetError, match=reason):
        VoxelTarget("core", over=region).freeze(replace(at, truth=truth))


def test_a_live_region_that_is_empty_says_whose_it_is() -> None:
    at = region_scene(2)
    at = replace(at, known_logits=torch.full_like(at.logits, -1.0))
    target = VoxelTarget("core", over=FalsePositive(), live=True)
    said = "over: false_positive, live.*predicts none beyond the ground truth"
    with pytest.raises(EmptyTargetError, match=f"(?s){said}"):
        target.freeze(at)
