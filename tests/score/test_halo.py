"""The halo profile: brute force over all pairs of voxels, in the patient's millimetres."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.score import Curve, HaloProfile, PointingGame, ScoreCache
from esegeta.volume import Grid
from tests.builders import SHAPES, affine_of
from tests.score.maps import judged, spots, written_map


def noise_map(ndim: int, kind: str) -> tuple[torch.Tensor, torch.Tensor, Grid]:
    """Return a map of noise, a structure of two blobs, and their grid."""
    generator = torch.Generator().manual_seed(ndim)
    inside = torch.zeros(SHAPES[ndim], dtype=torch.bool)
    inside[3:6, 2:6] = True
    inside[8, 9] = True
    map_ = torch.randn(SHAPES[ndim], generator=generator)
    return map_, inside, Grid(SHAPES[ndim], affine_of(kind, ndim))


def brute_distances(inside: np.ndarray, grid: Grid) -> np.ndarray:
    """Return signed distances by every pair of a voxel inside and one outside."""
    places = np.array([grid.to_mm(place) for place in np.ndindex(inside.shape)])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    within = inside.ravel()
    to_other_side = np.where(within[:, None] != within[None], apart, np.inf).min(axis=1)
    return np.where(within, -to_other_side, to_other_side).reshape(inside.shape)


def by_name(curves: tuple[Curve, ...]) -> dict[str, Curve]:
    return {curve.name: curve for curve in curves}


@pytest.mark.parametrize("kind", ["anisotropic", "oblique"])
def test_equals_brute_force(ndim: int, kind: str) -> None:
    map_, inside, grid = noise_map(ndim, kind)
    width = 1.1
    judgement = judged(
        HaloProfile(bin_mm=width), written_map(map_[None], inside, affine=grid.affine)
    )
    share = np.abs(map_.double().numpy())
    share = share / share.sum()
    distance = brute_distances(inside.numpy(), grid)

    def least(part: float, chosen: np.ndarray, of: np.ndarray) -> float:
        total = share[chosen].sum()
        return min(d for d in of[chosen] if share[chosen & (of <= d)].sum() >= part * total)

    everywhere = np.ones_like(inside.numpy())
    assert judgement.values == pytest.approx(
        {
            "halo_inside": share[inside.numpy()].sum(),
            "halo_distance_mm": least(0.5, distance > 0, distance),
            "halo_90_mm": least(0.9, everywhere, np.maximum(distance, 0)),
        }
    )
    curves = by_name(judgement.curves)
    density, cumulative = curves["halo_density"], curves["halo_cumulative"]
    assert min(density.x) < -width / 2
    for centre, value in zip(density.x, density.y, strict=True):
        low, high = abs(centre) - width / 2, abs(centre) + width / 2
        there = (np.sign(distance) == np.sign(centre)) & (abs(distance) > low)
        there &= abs(distance) <= high
        ml = there.sum() * grid.voxel_volume_ml
        expected = share[there].sum() / ml if there.any() else math.nan
        assert value == pytest.approx(expected, nan_ok=True)
    # An inner bin that ends at -d holds what lies deeper than d.
    for end, value in zip(cumulative.x, cumulative.y, strict=True):
        up_to = distance <= end if end > 0 else distance < min(end, -1e-9)
        up_to = distance < 0 if end == 0 else up_to
        assert value == pytest.approx(share[up_to].sum(), abs=1e-12)
    assert cumulative.y[-1] == pytest.approx(1)
    assert cumulative.y[cumulative.x.index(0)] == pytest.approx(judgement.values["halo_inside"])


def test_bins_by_hand() -> None:
    """A line of voxels 2 mm apart, 3 x 4 mm thick; the structure is voxels 3 and 4."""
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    inside = spots((8, 1), {(3, 0): 1, (4, 0): 1}) > 0
    map_ = torch.tensor([1.0, 2.0, 3.0, 10.0, 6.0, 4.0, 0.0, -14.0])[:, None]
    found = judged(HaloProfile(bin_mm=4.0), written_map(map_[None], inside, affine=affine))
    # Outside at 2 mm: 3 + 4; at 4 mm: 2 + 0; at 6 mm: 1 + 14. Inside at -2 mm: 16. In all 40.
    assert found.values == pytest.approx(
        {"halo_inside": 0.4, "halo_distance_mm": 6.0, "halo_90_mm": 6.0}
    )
    density, cumulative = found.curves
    ml = 2 * 3 * 4 / 1000
    assert density.x == (-2.0, 2.0, 6.0)
    assert density.y == pytest.approx((0.4 / (2 * ml), 9 / 40 / (4 * ml), 15 / 40 / (2 * ml)))
    assert cumulative.x == (0.0, 4.0, 8.0)
    assert cumulative.y == pytest.approx((0.4, 25 / 40, 1.0))
    assert "[mm]" in density.x_label


def test_a_bin_that_no_voxel_falls_into_has_no_density() -> None:
    inside = spots((4, 1), {(0, 0): 1}) > 0
    affine = np.diag([10.0, 1.0, 1.0, 1.0])
    map_ = torch.tensor([1.0, 1.0, 1.0, 1.0])[None, :, None]
    density = judged(HaloProfile(bin_mm=5.0), written_map(map_, inside, affine=affine)).curves[0]
    assert [place for place, value in zip(density.x, density.y, strict=True) if value > 0] == [
        -7.5,  # one voxel inside, 10 mm deep
        7.5,
        17.5,
        27.5,
    ]
    assert sum(math.isnan(value) for value in density.y) == len(density.y) - 4


def test_a_map_within_the_structure_has_no_halo() -> None:
    inside = spots((5, 5), {(2, 2): 1, (2, 3): 1}) > 0
    found = judged(HaloProfile(), written_map(spots((5, 5), {(2, 2): -3})[None], inside))
    assert found.values["halo_inside"] == 1
    assert found.values["halo_90_mm"] == 0
    assert math.isnan(found.values["halo_distance_mm"])
    assert found.reasons == {"halo_distance_mm": "the map is zero outside the structure"}


def test_a_map_beside_the_structure_is_all_halo() -> None:
    inside = spots((5, 5), {(2, 2): 1}) > 0
    found = judged(HaloProfile(), written_map(spots((5, 5), {(2, 4): 3})[None], inside))
    assert found.values == {"halo_inside": 0, "halo_distance_mm": 2, "halo_90_mm": 2}


def test_a_sheared_grid_has_no_distances() -> None:
    """Spacings along axes that are not at right angles do not add up to distances."""
    inside = spots((5, 5, 5), {(2, 2, 2): 1}) > 0
    map_ = written_map(torch.ones(1, 5, 5, 5), inside, affine=affine_of("sheared"))
    for score in (HaloProfile(), PointingGame(within_mm=1.0)):
        found = judged(score, map_)
        assert all(math.isnan(value) for value in found.values.values())
        assert all("right angles" in reason for reason in found.reasons.values())
    assert judged(PointingGame(), map_).values["pointing_game"] == pytest.approx(1 / 125)


def test_distances_are_found_once_for_all_maps_of_a_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    exact = ndimage.distance_transform_edt

    def counted(*arguments: object, **options: object) -> np.ndarray:
        calls.append(options)
        return exact(*arguments, **options)

    monkeypatch.setattr(ndimage, "distance_transform_edt", counted)
    map_, inside, grid = noise_map(2, "anisotropic")
    first = written_map(map_[None], inside, affine=grid.affine)
    cache = ScoreCache()
    for score in (HaloProfile(), HaloProfile(use="positive"), PointingGame(within_mm=1.0)):
        judged(score, first, cache)
    assert len(calls) == 2  # outward and inward
    judged(HaloProfile(), written_map(map_[None], ~inside, affine=grid.affine), cache)
    assert len(calls) == 4  # another target


def test_a_picture_is_measured_in_pixels() -> None:
    inside = spots((8, 1), {(3, 0): 1, (4, 0): 1}) > 0
    map_ = torch.tensor([1.0, 2.0, 3.0, 10.0, 6.0, 4.0, 0.0, -14.0])[:, None]
    written = written_map(map_[None], inside, affine=np.eye(4))
    source = replace(written.volume.source, picture_axes="yx")
    picture = replace(written, volume=replace(written.volume, source=source))
    density, cumulative = judged(HaloProfile(bin_mm=2.0), picture).curves
    assert density.y == pytest.approx((0.4 / 2, 9 / 40 / 4, 15 / 40 / 2))
    assert density.y_label == "share of the map per pixel"
    assert "[pixels]" in density.x_label
    assert cumulative.y == pytest.approx((0.4, 25 / 40, 1.0))
