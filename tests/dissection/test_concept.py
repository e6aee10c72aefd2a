"""Concepts: each rule against known voxels, in 2D and 3D, on anisotropic and turned grids."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from esegeta.dissection.concept import (
    BoundaryBand,
    Complement,
    Concept,
    ConceptRule,
    ConceptSources,
    Distance,
    Edges,
    Half,
    LabelValues,
    MaskFile,
    Together,
    concept_masks,
)
from esegeta.errors import DataError, GridError
from esegeta.volume import volume_from_tensor
from tests.builders import affine_of

SHAPES = {2: (9, 8), 3: (9, 8, 6)}


def ground(ndim: int, affine: str = "anisotropic", **more: object) -> ConceptSources:
    shape = SHAPES[ndim]
    volume = volume_from_tensor(torch.randn(2, *shape), affine=affine_of(affine, ndim))
    truth = torch.zeros(shape, dtype=torch.long)
    truth[2:5, 3:6] = 3
    truth[6:8, 1:3] = 7
    return ConceptSources(volume, truth, **more)


def one(rule: ConceptRule, place: ConceptSources, *others: Concept) -> torch.Tensor:
    return concept_masks([Concept("it", rule), *others], place)[0]


THREE = Concept("three", LabelValues((3,)))
SEVEN = Concept("seven", LabelValues((7,)))


def distances(place: ConceptSources, mask: torch.Tensor) -> np.ndarray:
    """Return every voxel's distance in mm to the nearest voxel of a mask, by brute force."""
    spacing = np.array(place.volume.grid.spacing_mm)
    inside = mask.nonzero().numpy()
    result = np.zeros(mask.shape)
    for voxel in itertools.product(*(range(n) for n in mask.shape)):
        result[voxel] = np.sqrt((((inside - voxel) * spacing) ** 2).sum(axis=1)).min()
    return result


def test_label_values_and_unions(ndim: int) -> None:
    place = ground(ndim)
    assert torch.equal(one(LabelValues((3,)), place), place.truth == 3)
    assert torch.equal(one(LabelValues((3, 7)), place), place.truth != 0)
    assert not one(LabelValues((5,)), place).any()


def test_masks_are_read_from_files(ndim: int) -> None:
    given = torch.randint(0, 3, SHAPES[ndim])
    place = ground(ndim, files={"it": given})
    assert torch.equal(one(MaskFile(), place), given != 0)
    assert torch.equal(one(MaskFile((2,)), place), given == 2)
    with pytest.raises(GridError, match='concept "it"'):
        one(MaskFile(), ground(ndim, files={"it": given[1:]}))


@pytest.mark.parametrize("within", [0.7, 2.0, 4.0])
def test_boundary_bands_lie_on_both_sides(ndim: int, within: float) -> None:
    place = ground(ndim)
    inside = (place.truth == 3).numpy()
    to_other = np.where(
        inside, distances(place, place.truth != 3), distances(place, place.truth == 3)
    )
    found = one(BoundaryBand("three", within), place, THREE)
    np.testing.assert_array_equal(found.numpy(), to_other <= within + 1e-6)
    assert 0 < found.sum() < found.numel()


def test_an_empty_and_a_full_mask_have_no_boundary(ndim: int) -> None:
    place = ground(ndim)
    none = Concept("none", LabelValues((5,)))
    assert not one(BoundaryBand("none", 3.0), place, none).any()
    assert not one(BoundaryBand("all", 3.0), place, none, Concept("all", Complement("none"))).any()


def test_bands_of_distance_tile_the_outside(ndim: int) -> None:
    place = ground(ndim)
    gap = distances(place, place.truth == 3)
    bands = [(0.0, 2.0), (2.0, 5.0), (5.0, 1000.0)]
    found = [one(Distance("three", low, high), place, THREE) for low, high in bands]
    for (low, high), mask in zip(bands, found, strict=True):
        expected = (gap > low + 1e-9) & (gap <= high + 1e-9)
        np.testing.assert_array_equal(mask.numpy(), expected)
    assert torch.equal(sum(mask.long() for mask in found), (place.truth != 3).long())


@pytest.mark.parametrize("width", [2.0000001, 1.9999999, 2.0])
def test_distance_bands_tolerate_affines_in_float32(width: float) -> None:
    """Four voxels on from the mask are 8 mm from it, whatever the last bits of the voxels say."""
    affine = np.diag([width, 1.0, 1.0, 1.0])
    volume = volume_from_tensor(torch.zeros(1, 12, 3), affine=affine)
    truth = torch.zeros(12, 3, dtype=torch.int64)
    truth[0] = 1
    place = ConceptSources(volume, truth, {})
    organ = Concept("organ", LabelValues((1,)))
    near, far = (one(Distance("organ", *band), place, organ) for band in ((0, 8), (8, 16)))
    assert near[:, 0].tolist() == [0 < row <= 4 for row in range(12)]
    assert far[:, 0].tolist() == [4 < row <= 8 for row in range(12)]


def test_an_empty_mask_has_no_distance_band(ndim: int) -> None:
    none = Concept("none", LabelValues((5,)))
    assert not one(Distance("none", 0.0, 1e9), ground(ndim), none).any()


def test_complements_unions_and_intersections(ndim: int) -> None:
    place = ground(ndim)
    assert torch.equal(one(Complement("three"), place, THREE), place.truth != 3)
    both = one(Together(("three", "seven"), every=False), place, THREE, SEVEN)
    assert torch.equal(both, place.truth != 0)
    near = Concept("near", BoundaryBand("three", 0.7))
    found = one(Together(("three", "near"), every=True), place, THREE, near)
    assert torch.equal(found, one(near.rule, place, THREE) & (place.truth == 3))
    assert 0 < found.sum() < (place.truth == 3).sum()


@pytest.mark.parametrize("affine", ["anisotropic", "flipped", "oblique", "sheared"])
def test_halves_follow_the_axes_of_the_patient(affine: str) -> None:
    place = ground(3, affine)
    grid = place.volume.grid
    centre = grid.to_mm([(length - 1) / 2 for length in grid.shape])
    positions = np.array([grid.to_mm(voxel) for voxel in np.ndindex(*grid.shape)])
    offsets = (positions - centre).reshape(*grid.shape, 3)
    names = ("left", "right"), ("posterior", "anterior"), ("inferior", "superior")
    for axis, (low, high) in enumerate(names):
        np.testing.assert_array_equal(one(Half(low), place).numpy(), offsets[..., axis] < -1e-6)
        np.testing.assert_array_equal(one(Half(high), place).numpy(), offsets[..., axis] > 1e-6)
    part = one(Half("left", "three"), place, THREE)
    assert torch.equal(part, one(Half("left"), place) & (place.truth == 3))


def test_a_half_along_a_missing_axis_is_refused() -> None:
    with pytest.raises(DataError, match="no superior half"):
        one(Half("superior"), ground(2))


@pytest.mark.parametrize(("sigma", "reach"), [(0.0, 1), (1.5, 3)])
def test_edges_are_where_grey_values_are_steepest_in_mm(
    ndim: int, sigma: float, reach: int
) -> None:
    """A step across the axis with the finest spacing is steeper than the same step elsewhere."""
    shape = (24, 20, 16)[:ndim]
    data = torch.zeros(2, *shape)
    data[1, 12:] = 1.0
    data[1, :, 10:] += 1.0
    volume = volume_from_tensor(data, spacing_mm=(0.5, 2.0, 2.0)[:ndim])
    found = one(Edges(2 / 24, sigma, channel=1), ConceptSources(volume))
    assert found.any()
    assert set(found.nonzero()[:, 0].tolist()) <= set(range(12 - reach, 12 + reach))


def test_edges_cover_the_given_share_of_voxels(ndim: int) -> None:
    found = one(Edges(0.25), ground(ndim))
    assert int(found.sum()) == found.numel() // 4


def test_a_thin_volume_has_edges() -> None:
    volume = volume_from_tensor(torch.randn(1, 8, 1, 9))
    assert one(Edges(0.5), ConceptSources(volume)).sum() == 36


def test_a_case_without_labels_is_named() -> None:
    place = ConceptSources(ground(2).volume)
    with pytest.raises(DataError, match='case: concept "it" needs a label map'):
        one(LabelValues((1,)), place)


def test_categories_default_to_kinds() -> None:
    assert THREE.group == "label"
    assert Concept("a", BoundaryBand("three", 1.0)).group == "boundary"
    assert Concept("a", BoundaryBand("three", 1.0), "surface").group == "surface"
