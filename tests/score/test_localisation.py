"""Localisation: known voxels by hand, slow rewrites with every way to break a tie, scikit-learn."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from esegeta.explain import Attribution, Saliency
from esegeta.score import (
    Auroc,
    HaloProfile,
    PointingGame,
    RelevanceMass,
    RelevanceRank,
    ScoreContext,
)
from esegeta.score.localisation import LOCALISATION
from esegeta.targets import BoxRegion, DiceTarget, Everywhere, Roi, Scene, UnitTarget, VoxelTarget
from tests.builders import SHAPES, affine_of, predictor, scene, unet, volume
from tests.score.maps import ONE_VOXEL, RAMP, judged, spots, value_of, written_map

ALL = list(LOCALISATION)
CENTRE = (2, 2, 2)
GRIDS = ["anisotropic", "flipped", "oblique"]


def one_voxel(
    values: dict[tuple[int, ...], float], kind: str = "anisotropic", rest: float = -5.0
) -> Attribution:
    """Return a map over 5^3 voxels of 0.7 x 1.9 x 3.1 mm whose central one is the structure."""
    shape = (5, 5, 5)
    predicted = spots(shape, {CENTRE: 1}) > 0
    return written_map(spots(shape, values, rest)[None], predicted, affine=affine_of(kind))


NEIGHBOURS = {CENTRE: 4.0, (3, 2, 2): 3.0, (2, 3, 2): 2.0, (2, 2, 3): 1.0}
"""The central voxel and one at 0.7, 1.9 and 3.1 mm."""


@pytest.mark.parametrize("kind", GRIDS)
def test_scores_of_one_voxel_on_an_anisotropic_grid(kind: str) -> None:
    map_ = one_voxel(NEIGHBOURS, kind)
    assert value_of(RelevanceMass(), map_) == pytest.approx(0.4)
    assert value_of(RelevanceRank(), map_) == 1
    assert value_of(PointingGame(), map_) == 1
    assert value_of(Auroc(), map_) == 1
    # 4 of 10 inside; of the 6 outside half lie within 0.7 mm; 4 + 3 + 2 = 90 % within 1.9 mm.
    found = judged(HaloProfile(use="positive"), map_).values
    assert found == pytest.approx({"halo_inside": 0.4, "halo_distance_mm": 0.7, "halo_90_mm": 1.9})


@pytest.mark.parametrize("kind", GRIDS)
def test_magnitudes_count_negative_values(kind: str) -> None:
    map_ = one_voxel(NEIGHBOURS, kind, rest=-0.1)  # 121 voxels
    assert value_of(RelevanceMass(use="magnitude"), map_) == pytest.approx(4 / 22.1)
    assert value_of(RelevanceMass(), map_) == pytest.approx(0.4)
    deep = one_voxel({CENTRE: -6.0, (0, 0, 0): 5.0}, kind, rest=0)
    assert value_of(PointingGame(use="magnitude"), deep) == 1
    assert value_of(PointingGame(), deep) == 0
    assert value_of(RelevanceRank(use="magnitude"), deep) == 1
    assert value_of(RelevanceRank(), deep) == 0
    assert value_of(Auroc(use="magnitude"), deep) == 1
    # Beside the voxel at (0, 0, 0), all 123 others outside are tied with the one inside.
    assert value_of(Auroc(), deep) == pytest.approx((0 + 123 / 2) / 124)


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize(
    ("place", "within_mm", "hit"),
    [
        ((2, 2, 3), 3.0, 0),  # one voxel away along z: 3.1 mm
        ((2, 2, 3), 3.1, 1),
        ((4, 2, 2), 1.3, 0),  # two along x: 1.4 mm
        ((4, 2, 2), 1.4, 1),
        ((3, 3, 2), 2.02, 0),  # one along x and y: sqrt(0.49 + 3.61) = 2.0248 mm
        ((3, 3, 2), 2.03, 1),
        (CENTRE, 0.0, 1),
        ((3, 2, 2), 0.0, 0),
    ],
)
def test_pointing_within_millimetres(
    kind: str, place: tuple[int, ...], within_mm: float, hit: int
) -> None:
    map_ = one_voxel({place: 1.0}, kind)
    assert value_of(PointingGame(within_mm=within_mm), map_) == hit


def test_maxima_that_tie_hit_by_their_share() -> None:
    map_ = one_voxel({CENTRE: 2.0, (0, 0, 0): 2.0, (3, 2, 2): 2.0, (4, 4, 4): 1.0})
    assert value_of(PointingGame(), map_) == pytest.approx(1 / 3)
    assert value_of(PointingGame(within_mm=0.7), map_) == pytest.approx(2 / 3)


def test_a_tolerance_that_reaches_every_voxel_is_undefined() -> None:
    found = judged(PointingGame(within_mm=100.0), one_voxel(NEIGHBOURS))
    assert math.isnan(found.values["pointing_game"])
    assert found.reasons == {"pointing_game": "every voxel lies within 100 mm"}


LEVELS = torch.tensor([2.0, -2, 1, 1, 1, 1, -1, -1, 0, 0, 0, 0])


def ties(ndim: int, size: int) -> tuple[Tensor, Tensor]:
    """Return a map of few levels, in any order, and a structure of some voxels."""
    shape = (3, 4) if ndim == 2 else (3, 2, 2)
    generator = torch.Generator().manual_seed(9)
    order, other = (torch.randperm(12, generator=generator) for _ in range(2))
    return LEVELS[order].reshape(shape), (other < size).reshape(shape)


@pytest.mark.parametrize("size", [3, 6])
@pytest.mark.parametrize("use", ["positive", "magnitude"])
def test_rank_is_the_mean_over_all_orders_of_equal_voxels(ndim: int, use: str, size: int) -> None:
    map_, inside = ties(ndim, size)
    found = value_of(RelevanceRank(use=use), written_map(map_[None], inside))
    values = np.abs(map_.numpy()) if use == "magnitude" else np.maximum(map_.numpy(), 0)
    flat, within = values.ravel(), inside.numpy().ravel()
    best = max(flat[list(chosen)].sum() for chosen in itertools.combinations(range(12), size))
    shares = [
        within[list(chosen)].mean()
        for chosen in itertools.combinations(range(12), size)
        if flat[list(chosen)].sum() == best
    ]
    assert len(shares) > 1
    assert found == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("use", ["positive", "magnitude"])
@pytest.mark.parametrize("tied", [False, True])
def test_auroc_equals_scikit_learn(ndim: int, use: str, tied: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    map_ = torch.randn(2, *SHAPES[ndim], generator=generator)
    map_ = (2 * map_).round() if tied else map_
    inside = torch.rand(SHAPES[ndim], generator=generator) < 0.2
    found = value_of(Auroc(use=use), written_map(map_, inside))
    total = map_.double().numpy().sum(axis=0)
    values = np.abs(total) if use == "magnitude" else np.maximum(total, 0)
    expected = roc_auc_score(inside.numpy().ravel(), values.ravel())
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_constant_map_scores_at_chance(ndim: int) -> None:
    """The same value everywhere: no score may prefer the voxels that come first."""
    inside = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    inside[:3] = True
    share = float(inside.double().mean())
    same = written_map(torch.full((1, *SHAPES[ndim]), 0.3), inside)
    assert value_of(RelevanceMass(), same) == pytest.approx(share)
    assert value_of(RelevanceRank(), same) == pytest.approx(share)
    assert value_of(PointingGame(), same) == pytest.approx(share)
    assert value_of(Auroc(), same) == pytest.approx(0.5)


def test_channels_are_summed_first() -> None:
    """+3 and -3 in one voxel leave nothing to place."""
    one, other = spots((3, 3), {(1, 1): 3, (0, 0): 2}), spots((3, 3), {(1, 1): -3, (0, 0): 1})
    inside = spots((3, 3), {(1, 1): 1}) > 0
    map_ = written_map(torch.stack([one, other]), inside)
    for use in ("positive", "magnitude"):
        assert value_of(RelevanceMass(use=use), map_) == 0
        assert value_of(PointingGame(use=use), map_) == 0
    cancelled = written_map(torch.stack([one, -one]), inside)
    found = judged(RelevanceMass(use="magnitude"), cancelled)
    assert "no value other than zero" in found.reasons["relevance_mass"]


def test_maps_without_channels_count_as_they_are() -> None:
    data = spots((4, 3), {(1, 1): 3, (0, 0): 1})[None]
    inside = spots((4, 3), {(1, 1): 1}) > 0
    for name in ALL:
        alone, shared = (
            judged(LOCALISATION[name](), written_map(data, inside, num_channels=count)).values
            for count in (1, 2)
        )
        assert alone == pytest.approx(shared)


def test_mass_shares_a_features_worth_among_its_voxels() -> None:
    """Worth 1 in the one voxel inside and 1 in the 8 outside: half, though 8 voxels are painted."""
    inside = spots((3, 3), {(1, 1): 1}) > 0
    sharing = torch.where(inside, 1.0, 8.0)[None]
    map_ = written_map(torch.ones(1, 3, 3), inside, sharing=sharing)
    assert value_of(RelevanceMass(), map_) == pytest.approx(0.5)
    assert judged(HaloProfile(), map_).values["halo_inside"] == pytest.approx(0.5)
    # Ranking is of what was painted, where all are equal.
    assert value_of(Auroc(), map_) == pytest.approx(0.5)
    assert value_of(RelevanceRank(), map_) == pytest.approx(1 / 9)


def places() -> Attribution:
    """Return a map over 4 x 4 voxels: one in the prediction, one in the truth, one in a box."""
    values = {(0, 0): 4.0, (0, 3): 3.0, (3, 0): 2.0, (3, 3): 1.0}
    predicted = spots((4, 4), {(0, 0): 1}) > 0
    truth = spots((4, 4), {(0, 3): 1, (2, 2): 1}).long()
    box = BoxRegion((3, 0), (4, 1))
    return written_map(spots((4, 4), values)[None], predicted, truth=truth, over=box)


@pytest.mark.parametrize(
    ("against", "mass", "rank", "pointing", "auroc"),
    [
        ("prediction", 0.4, 1, 1, 1),
        # Of the pair (0, 3), (2, 2) one is among the two best; one beats 13 of 14 others, the other
        # is tied with 11 of them.
        ("label", 0.3, 0.5, 0, (13 + 11 / 2) / 28),
        ("target", 0.2, 0, 0, 13 / 15),
    ],
)
def test_scores_against_prediction_truth_or_target_mask(
    against: str, mass: float, rank: float, pointing: float, auroc: float
) -> None:
    map_ = places()
    assert value_of(RelevanceMass(against=against), map_) == pytest.approx(mass)
    assert value_of(RelevanceRank(against=against), map_) == rank
    assert value_of(PointingGame(against=against), map_) == pointing
    assert value_of(Auroc(against=against), map_) == pytest.approx(auroc)
    inside = judged(HaloProfile(against=against), map_).values["halo_inside"]
    assert inside == pytest.approx(mass)


def test_the_prediction_of_a_sigmoid_label_is_where_its_logit_is_above_zero() -> None:
    logits = torch.stack([spots((3, 3), {(1, 1): 2}, -1), spots((3, 3), {}, 5)])[None]
    at = scene(logits, activation="sigmoid")
    target = VoxelTarget("one", over=Everywhere()).freeze(at)
    plain = written_map(torch.ones(1, 3, 3), logits[0, 0] > 0)
    map_ = replace(plain, volume=at.volume, target=target)
    assert value_of(RelevanceMass(), map_) == pytest.approx(1 / 9)


def test_the_mask_of_a_dice_or_of_a_roi_is_the_targets() -> None:
    roi = spots((4, 5), {(3, 4): 1, (0, 0): 1})
    over_roi = written_map(RAMP, ONE_VOXEL, over=Roi(roi))
    assert value_of(RelevanceMass(against="target"), over_roi) == pytest.approx(21 / 210)
    dice = written_map(RAMP, ONE_VOXEL, target=DiceTarget("one", "predicted"))
    assert value_of(RelevanceMass(against="target"), dice) == pytest.approx(8 / 210)
    assert value_of(RelevanceMass(), dice) == pytest.approx(8 / 210)


def test_a_unit_target_is_scored_against_its_mask_only(ndim: int) -> None:
    model = predictor(unet(ndim), (8,) * ndim)
    image = volume(SHAPES[ndim])
    inside = torch.zeros(SHAPES[ndim])
    inside[2:4] = 1
    target = UnitTarget("model.0.conv", 1, Roi(inside)).freeze(Scene(model, image))
    plain = written_map(torch.ones(1, *SHAPES[ndim]), inside > 0)
    map_ = replace(plain, target=target, volume=image)
    context = ScoreContext(model, Saliency())
    assert RelevanceMass(against="target").score(map_, context) == pytest.approx(
        {"relevance_mass": 2 / SHAPES[ndim][0]}
    )
    found = RelevanceMass().judge(map_, context)
    assert "is not about one label" in found.reasons["relevance_mass"]


def with_ignored(map_: Attribution, ignored: Tensor) -> Attribution:
    """Return a map whose ground truth says nothing of some voxels."""
    at = map_.target.scene
    labels = replace(at.labels, ignore_label=255)
    truth = torch.where(ignored, torch.full_like(at.truth, 255), at.truth)
    known = replace(at, predictor=replace(at.predictor, labels=labels), truth=truth)
    return replace(map_, target=replace(map_.target, scene=known))


@pytest.mark.parametrize("use", ["positive", "magnitude"])
def test_ignored_voxels_are_in_no_score_against_the_label(ndim: int, use: str) -> None:
    generator = torch.Generator().manual_seed(3)
    shape = SHAPES[ndim]
    truth = (torch.rand(shape, generator=generator) < 0.3).long()
    ignored = torch.rand(shape, generator=generator) < 0.4
    data = torch.randn((1, *shape), generator=generator)
    data[0][ignored] += 20.0  # the highest of all, and of no account
    map_ = with_ignored(written_map(data, truth > 0, truth=truth), ignored)
    relevance = data[0].double().numpy()
    relevance = np.abs(relevance) if use == "magnitude" else relevance.clip(0)
    r, m = relevance[~ignored.numpy()], truth.bool().numpy()[~ignored.numpy()]
    keys = {"against": "label", "use": use}
    assert value_of(RelevanceMass(**keys), map_) == pytest.approx(r[m].sum() / r.sum())
    assert value_of(Auroc(**keys), map_) == pytest.approx(roc_auc_score(m, r))
    assert value_of(PointingGame(**keys), map_) == m[r.argmax()]
    last = np.sort(r)[-m.sum()]
    assert value_of(RelevanceRank(**keys), map_) == pytest.approx(
        (m & (r > last)).sum() / m.sum()
        + m[r == last].mean() * (m.sum() - (r > last).sum()) / m.sum()
    )
    halo = judged(HaloProfile(**keys), map_).values
    assert halo["halo_inside"] == pytest.approx(r[m].sum() / r.sum())


def test_a_structure_surrounded_by_ignored_voxels_has_no_value() -> None:
    truth = torch.zeros(4, 3, dtype=torch.long)
    truth[0] = 1
    map_ = with_ignored(written_map(torch.rand(1, 4, 3), truth > 0, truth=truth), truth == 0)
    found = judged(RelevanceMass(against="label"), map_)
    assert "nothing lies outside" in found.reasons["relevance_mass"]
    # The prediction is a structure everywhere.
    assert value_of(RelevanceMass(against="prediction"), map_) > 0
