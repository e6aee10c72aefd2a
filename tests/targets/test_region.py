"""Regions of prediction and truth: which voxels, and what is said when there are none."""

import numpy as np
import pytest
import torch
from torch import nn

from esegeta.errors import EmptyTargetError, TargetError
from esegeta.targets import (
    REGION_KINDS,
    REGIONS,
    Boundary,
    Everywhere,
    FalseNegative,
    FalsePositive,
    Labelled,
    Otsu,
    Predicted,
    Region,
    Roi,
    Scene,
    VoxelTarget,
)
from tests.builders import SHAPES, predictor, scene
from tests.targets.cases import logits_of, noise_scene, probabilities


def mask_of(region: Region, at: Scene, label: str | int = "one") -> np.ndarray:
    return region.mask(at, at.logits, label).numpy()


def slow_predicted(at: Scene, label: int) -> np.ndarray:
    p = probabilities(at.logits, at.labels.activation)[0]
    channel = at.labels.channel(label)
    return p.argmax(axis=0) == channel if at.labels.activation == "softmax" else p[channel] > 0.5


@pytest.mark.parametrize("label", [1, 2])
def test_regions_of_prediction_label_and_errors(ndim: int, activation: str, label: int) -> None:
    at = noise_scene(ndim, activation)
    predicted = slow_predicted(at, label)
    truth = at.require_truth("test").numpy() == label
    expected = {
        Predicted(): predicted,
        Labelled(): truth,
        FalsePositive(): predicted & ~truth,
        FalseNegative(): ~predicted & truth,
    }
    for region, voxels in expected.items():
        assert 0 < voxels.sum() < voxels.size
        np.testing.assert_array_equal(mask_of(region, at, label), voxels)


def test_the_label_is_found_by_name_or_integer(ndim: int) -> None:
    at = noise_scene(ndim)
    np.testing.assert_array_equal(mask_of(Predicted(), at, "two"), mask_of(Predicted(), at, 2))


def test_regions_of_all_voxels_and_of_a_given_mask(ndim: int) -> None:
    at = noise_scene(ndim)
    assert mask_of(Everywhere(), at).all()
    given = torch.randint(-1, 2, SHAPES[ndim])
    np.testing.assert_array_equal(mask_of(Roi(given), at), given.numpy() != 0)
    with pytest.raises(TargetError, match=r"roi: the mask is \(2, 2\)"):
        mask_of(Roi(torch.ones(2, 2)), at)


@pytest.mark.parametrize("region", [Labelled(), FalsePositive(), FalseNegative()])
def test_regions_that_need_ground_truth_are_refused_without_it(region: Region) -> None:
    at = scene(logits_of(torch.ones(4, 4, dtype=torch.bool)))
    with pytest.raises(TargetError, match=r"case: over: label needs a ground truth.*label:"):
        mask_of(region, at)


NOWHERE = torch.zeros(4, 5, dtype=torch.bool)
EMPTY: dict[str, tuple[Region, torch.Tensor]] = {
    "predicted": (Predicted(), NOWHERE),
    "label": (Labelled(), ~NOWHERE),
    "false_positive": (FalsePositive(), NOWHERE),
    "false_negative": (FalseNegative(), ~NOWHERE),
    "roi": (Roi(NOWHERE), ~NOWHERE),
    "boundary of nothing": (Boundary(3.0), NOWHERE),
    "boundary of all": (Boundary(3.0), ~NOWHERE),
}


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_mask_names_label_region_and_case(name: str) -> None:
    region, predicted = EMPTY[name]
    at = scene(logits_of(predicted), truth=torch.zeros(4, 5, dtype=torch.long))
    with pytest.raises(EmptyTargetError) as caught:
        VoxelTarget("one", over=region).freeze(at)
    assert f'case: no voxel of label "one" over: {region.describe()}' in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", REGIONS)
def test_what_holds_no_voxel_where_the_label_is_not_predicted(name: str) -> None:
    logits = logits_of(NOWHERE)
    logits[0, 1, 1, 2] += 0.5  # more probable than elsewhere, and not predicted all the same
    truth = torch.zeros(4, 5, dtype=torch.long)
    truth[2:] = 1
    at = scene(logits, truth=truth)
    assert not at.predicted("one").any()
    region = REGIONS[name]
    assert region.mask(at, None, "one").any() != region.is_of_predicted
    assert REGION_KINDS[name] is type(region)


def test_regions_that_ignore_the_prediction_never_run_the_network() -> None:
    class Unpredictable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("the network was run")

    at = scene(logits_of(~NOWHERE), truth=torch.ones(4, 5, dtype=torch.long))
    blind = Scene(predictor(Unpredictable(), (2, 2)), at.volume, truth=at.truth)
    for region in (Labelled(), Roi(~NOWHERE), Everywhere()):
        assert not region.follows_prediction
        frozen = VoxelTarget("one", over=region).freeze(blind)
        assert frozen.value(at.logits).item() == pytest.approx(3.0 * 20)


def brute_force_otsu(values: np.ndarray) -> float:
    """Return the largest variance between the classes over every way to cut sorted values."""
    ordered = np.sort(values.ravel())
    spreads = []
    for cut in range(1, len(ordered)):
        low, high = ordered[:cut], ordered[cut:]
        spreads.append(len(low) * len(high) * (high.mean() - low.mean()) ** 2)
    return max(spreads)


@pytest.mark.parametrize("seed", range(4))
def test_otsu_separates_as_well_as_any_threshold(ndim: int, activation: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = SHAPES[ndim]
    logits = torch.randn((1, 3, *shape), generator=generator) - 2
    logits[0, :, 3:6, 2:7] += 3
    at = scene(logits, activation=activation)
    p = probabilities(logits, activation)[0, at.labels.channel("one")]
    mask = mask_of(Otsu(), at)
    # Exactly a cut by value ...
    assert p[mask].min() > p[~mask].max()
    # ... and as good as the best one, up to the width of a bin.
    low, high = p[~mask], p[mask]
    spread = len(low) * len(high) * (high.mean() - low.mean()) ** 2
    assert spread == pytest.approx(brute_force_otsu(p), rel=5e-3)


def test_otsu_separates_two_levels_and_is_refused_for_one() -> None:
    inside = torch.zeros(6, 7, dtype=torch.bool)
    inside[2:4, 3:6] = True
    np.testing.assert_array_equal(mask_of(Otsu(), scene(logits_of(inside))), inside.numpy())
    with pytest.raises(EmptyTargetError, match="over: otsu"):
        VoxelTarget("one", over=Otsu()).freeze(scene(torch.zeros(1, 2, 6, 7)))
