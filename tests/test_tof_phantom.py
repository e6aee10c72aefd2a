"""The phantoms of angiograms are what is said of them, and those that are shipped are they."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "data_samples" / "tof_phantom"


@pytest.fixture(scope="module")
def scripts() -> Iterator[None]:
    """Let scripts be imported, as they import each other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        yield


@pytest.fixture(scope="module")
def growth(scripts: None) -> ModuleType:
    return importlib.import_module("vessel_tree")


@pytest.fixture(scope="module")
def tof(scripts: None) -> ModuleType:
    return importlib.import_module("tof_phantom")


@pytest.fixture(scope="module")
def phantom(tof: ModuleType) -> Any:
    return tof.make_phantom(101)


def grown(growth: ModuleType, num_ends: int, seed: int = 3) -> Any:
    random = np.random.default_rng(seed)
    return growth.grow_tree(random, np.array([20.0, 20, 19]), num_ends=num_ends, radius_end_mm=0.4)


def test_cubes_of_radii_add_up_at_every_fork(growth: ModuleType) -> None:
    tree = grown(growth, 12)
    ends = 0
    for branch in range(len(tree.parents)):
        children = tree.children(branch)
        if len(children) == 2:
            assert np.isclose(tree.radii_mm[branch] ** 3, (tree.radii_mm[children] ** 3).sum())
        elif not children:
            assert np.isclose(tree.radii_mm[branch], 0.4)
            ends += 1
    assert ends == tree.num_ends[0] == 12
    assert len(tree.children(0)) == 1  # one trunk comes in


def test_a_new_end_joins_where_the_volume_grows_least(growth: ModuleType) -> None:
    before = grown(growth, 4)
    end = np.array([3.0, 16, 12])

    def joined(branch: int, fork: np.ndarray) -> Any:
        """The tree with the end on a branch, its ends counted anew from the leaves."""
        places = np.vstack([before.places_mm, fork, end])
        parents = [*before.parents, before.parents[branch], len(before.parents)]
        parents[branch] = len(before.parents)
        leaves = [b for b in range(len(parents)) if b not in parents]
        counts = [0] * len(parents)
        for leaf in leaves:
            above = leaf
            while above >= 0:
                counts[above] += 1
                above = parents[above]
        return growth.Tree(places, tuple(parents), tuple(counts), 0.4)

    counts = np.array(before.num_ends)
    branch, fork = growth.cheapest_fork(end, before.places_mm, list(before.parents), counts)
    volumes = {}
    for other in range(1, len(before.parents)):
        corners = np.stack([before.places_mm[before.parents[other]], before.places_mm[other], end])
        for a in range(1, 5):
            for b in range(1, 6 - a):
                place = np.array([a, b, 6 - a - b]) / 6 @ corners
                volumes[other, a, b] = joined(other, place).volume_mm3
    assert np.isclose(joined(branch, fork).volume_mm3, min(volumes.values()), rtol=1e-12)
    assert max(volumes.values()) > 1.1 * min(volumes.values())


def test_tubes_have_the_volume_of_a_cylinder_and_a_ball(
    growth: ModuleType, tof: ModuleType
) -> None:
    piece = growth.Piece(np.array([6.1, 7.3, 5.2]), np.array([13.0, 11.1, 12.9]), 1.1, 0.0)
    span = np.linalg.norm(piece.stop_mm - piece.start_mm)
    expected = np.pi * 1.1**2 * span + 4 / 3 * np.pi * 1.1**3
    share = tof.tubes([piece])
    assert np.isclose(share.sum() * tof.SPACING_MM.prod(), expected, rtol=0.005)
    ball = tof.Blob(np.array([10.0, 9, 8]), np.eye(3) / 2)
    assert np.isclose(
        tof.filled([ball]).sum() * tof.SPACING_MM.prod(), 4 / 3 * np.pi * 8, rtol=0.005
    )


def test_blood_loses_magnetisation_by_each_pulse(tof: ModuleType) -> None:
    # Pulse by pulse: the flip leaves cos a of what there is, then it comes back with T1.
    kept = np.exp(-tof.TR_SECONDS / tof.T1_BLOOD_SECONDS)
    left = 1.0
    for pulses in range(40):
        assert np.isclose(tof.inflow(pulses * tof.TR_SECONDS), left, rtol=1e-12)
        left = 1 - (1 - left * np.cos(np.deg2rad(tof.FLIP_DEGREES))) * kept
    assert left < 0.4


def test_noise_is_rician(tof: ModuleType) -> None:
    sigma = tof.NOISE
    channels = np.random.default_rng(0).normal(scale=sigma, size=(2, 100_000))
    air, blood = tof.rician(0.0, channels), tof.rician(0.8, channels)
    assert np.isclose(air.mean(), sigma * np.sqrt(np.pi / 2), rtol=0.01)
    assert np.isclose(air.var(), sigma**2 * (2 - np.pi / 2), rtol=0.02)
    assert np.isclose((blood**2).mean(), 0.8**2 + 2 * sigma**2, rtol=0.002)
    assert np.isclose(blood.mean() - 0.8, sigma**2 / 1.6, rtol=0.2)


@pytest.mark.slow
def test_masks_are_exact_and_connected(growth: ModuleType, tof: ModuleType, phantom: Any) -> None:
    """Voxels by points drawn in them, against the middle lines of all tubes."""
    streams = np.random.SeedSequence(101).spawn(5)
    pieces = growth.pieces_of(
        phantom.tree, np.random.default_rng(streams[1]), root_speed_mm_s=tof.ROOT_SPEED_MM_S
    )
    starts, stops = np.stack([p.start_mm for p in pieces]), np.stack([p.stop_mm for p in pieces])
    radii = np.array([piece.radius_mm for piece in pieces])
    vessel = np.isin(phantom.labels, (1, 2))
    passed = tof.middle_lines(pieces)
    shell = ndimage.binary_dilation(vessel, iterations=2)
    random = np.random.default_rng(0)
    sure = 0
    for voxel in random.permutation(np.argwhere(shell))[:400]:
        points = (voxel + random.random((200, 3))) * tof.SPACING_MM
        gaps = np.stack([growth.distance_to_lines(point, starts, stops) for point in points])
        share = (gaps <= radii).any(axis=1).mean()
        if abs(share - 0.5) > 0.15:  # beyond chance and the grain of the mask's own samples
            assert vessel[tuple(voxel)] == (share > 0.5 or passed[tuple(voxel)])
            sure += 1
    assert sure > 300
    assert ndimage.label(vessel, np.ones((3, 3, 3)))[1] == 1
    assert np.array_equal(phantom.thin, phantom.labels == 2)


@pytest.mark.slow
def test_vessels_fade_and_twin_images_differ_only_in_fat(tof: ModuleType, phantom: Any) -> None:
    changed = phantom.image != phantom.without_fat
    assert changed[phantom.labels == 3].mean() > 0.97
    assert not changed[~ndimage.binary_dilation(phantom.labels == 3, iterations=2)].any()
    assert phantom.image[phantom.labels == 3].mean() > 2 * phantom.image[phantom.labels == 0].mean()
    wide = phantom.labels == 1
    away = np.linalg.norm(
        (np.argwhere(wide) + 0.5) * tof.SPACING_MM - phantom.tree.places_mm[0], axis=1
    )
    near, far = np.quantile(away, [1 / 3, 2 / 3])
    values = phantom.image[wide]
    assert values[away < near].mean() > 1.1 * values[away > far].mean()
    gaps = np.argwhere(phantom.labels == 3) * tof.SPACING_MM
    for voxel in np.argwhere(phantom.thin)[::25]:
        nearest = np.linalg.norm(gaps - voxel * tof.SPACING_MM, axis=1).min()
        assert phantom.near_fat[tuple(voxel)] == (nearest <= tof.NEAR_FAT_MM)


@pytest.mark.slow
def test_shipped_phantoms_are_drawn_again_as_they_are(scripts: None, tmp_path: Path) -> None:
    maker = importlib.import_module("make_tof_phantom")
    assert len(maker.CASES) == 12
    for name, seed in maker.CASES.items():
        maker.write_case(tmp_path, name, seed)
        for path in tmp_path.glob(f"{name}*.nii.gz"):
            drawn, shipped = nib.load(path), nib.load(FOLDER / path.name)
            assert np.array_equal(np.asarray(drawn.dataobj), np.asarray(shipped.dataobj)), path
            assert np.array_equal(drawn.affine, shipped.affine)
            assert np.allclose(shipped.header.get_zooms(), (0.5, 0.5, 0.8))
    assert len(list(tmp_path.iterdir())) == len(list(FOLDER.iterdir())) == 60
