"""Grids: voxel to millimetre and back, volumes, and when two grids are one."""

import numpy as np
import pytest

from esegeta.volume import Grid, grid_of_spacing
from tests.builders import SHAPES, affine_of

KINDS = ["anisotropic", "flipped", "oblique", "sheared"]


def grid(kind: str, ndim: int) -> Grid:
    return Grid(SHAPES[ndim], affine_of(kind, ndim))


@pytest.mark.parametrize("kind", KINDS)
def test_to_mm_is_the_affine_and_to_index_its_inverse(ndim: int, kind: str) -> None:
    g = grid(kind, ndim)
    for index in np.random.default_rng(0).uniform(-5, 20, (10, ndim)):
        expected = g.affine[:3, 3].copy()
        for axis in range(ndim):
            expected += index[axis] * g.affine[:3, axis]
        np.testing.assert_allclose(g.to_mm(index.tolist()), expected, atol=1e-10)
        np.testing.assert_allclose(g.to_index(g.to_mm(index.tolist())), index, atol=1e-10)


def test_spacing_and_voxel_volume_know_turns_and_flips(ndim: int) -> None:
    for kind in ("anisotropic", "flipped", "oblique"):
        g = grid(kind, ndim)
        np.testing.assert_allclose(g.spacing_mm, (0.7, 1.9, 3.1)[:ndim])
        assert g.voxel_volume_ml == pytest.approx(0.7 * 1.9 * 3.1 / 1000)


def test_a_sheared_voxel_has_the_volume_of_its_parallelepiped() -> None:
    affine = affine_of("sheared")
    i, j, k = affine[:3, :3].T
    assert Grid((4, 4, 4), affine).voxel_volume_ml == pytest.approx(
        abs(np.dot(i, np.cross(j, k))) / 1000
    )


@pytest.mark.parametrize("kind", KINDS)
def test_same_as_is_judged_at_the_far_corner(ndim: int, kind: str) -> None:
    g = grid(kind, ndim)
    assert g.same_as(Grid(g.shape, g.affine.copy()))
    far = max(g.shape) - 1
    for change, same in ((0.5e-3, True), (2e-3, False)):
        shifted, stretched = g.affine.copy(), g.affine.copy()
        shifted[1, 3] += change
        stretched[0, int(np.argmax(g.shape))] += change / far
        assert g.same_as(Grid(g.shape, shifted)) is same
        assert g.same_as(Grid(g.shape, stretched)) is same


def test_same_as_refuses_other_shapes_and_mirrored_grids() -> None:
    g = grid("anisotropic", 3)
    assert not g.same_as(Grid((9, 11, 8), g.affine))
    assert not g.same_as(grid("flipped", 3))


def test_differences_that_cancel_at_the_corner_still_count() -> None:
    base = grid_of_spacing((11, 11), (1, 1))
    skewed = base.affine.copy()
    skewed[0, 0] += 0.1
    skewed[0, 1] -= 0.1
    assert not base.same_as(Grid((11, 11), skewed))


def test_a_2d_grid_ignores_the_third_axis_of_another() -> None:
    thick = affine_of("anisotropic", 2)
    thin = thick.copy()
    thin[2, 2] = 1
    assert Grid((5, 4), thick).same_as(Grid((5, 4), thin))


def test_grid_of_spacing() -> None:
    g = grid_of_spacing((3, 4), (0.5, 2.0))
    assert g.to_mm((2, 3)) == (1.0, 6.0, 0.0)
    assert (g.ndim, g.spacing_mm) == (2, (0.5, 2.0))


def test_describe_tells_shape_spacing_and_origin() -> None:
    text = grid("oblique", 3).describe()
    assert text == "9x11x7 voxels of 0.7x1.9x3.1 mm, origin (12.5, -40, 7.25) mm"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cropped_grid_leaves_every_voxel_where_it_was(ndim: int, kind: str) -> None:
    """A box may also begin before the first voxel."""
    g, first = grid(kind, ndim), (2, -1, 3)[:ndim]
    cropped = g.cropped([slice(start, start + 4) for start in first])
    assert cropped.shape == (4,) * ndim
    for index in ((0,) * ndim, (3, 1, 2)[:ndim]):
        own = [start + place for start, place in zip(first, index, strict=True)]
        np.testing.assert_allclose(cropped.to_mm(index), g.to_mm(own), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_grid_places_every_voxel_where_it_was(ndim: int, kind: str) -> None:
    g = grid(kind, ndim)
    for axis in range(ndim):
        flipped = g.flipped(axis)
        assert not flipped.same_as(g)
        assert flipped.flipped(axis).same_as(g)
        np.testing.assert_allclose(flipped.spacing_mm, g.spacing_mm)
        for index in np.random.default_rng(0).uniform(-5, 20, (5, ndim)).tolist():
            there = list(index)
            there[axis] = g.shape[axis] - 1 - index[axis]
            np.testing.assert_allclose(flipped.to_mm(there), g.to_mm(index), atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_axes_at_right_angles(ndim: int, kind: str) -> None:
    assert grid(kind, ndim).is_rectangular == (kind != "sheared")
    nearly = affine_of(kind, ndim)
    nearly[:3, 0] *= 1 + 1e-7  # as affines are rounded to float32
    assert Grid(SHAPES[ndim], nearly).is_rectangular == (kind != "sheared")


def test_axes_run_to_the_side_that_they_are_nearest_to() -> None:
    turned = np.array([[0.1, -2.0, 0, 5], [3, 0.2, 0, 1], [0, 0, -1, 2], [0, 0, 0, 1]])
    assert Grid((4, 4, 4), turned).runs_to == "ALI"
    assert Grid((4, 4), np.diag([-1.0, -1, 1, 1])).runs_to == "LP"
