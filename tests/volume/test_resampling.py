"""Values between voxels: as MONAI's Spacing bit for bit, as nnU-Net's resampling, and exactly."""

from itertools import product

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacing, SpatialResample

from esegeta.volume import Grid, grid_of_spacing
from esegeta.volume.resampling import (
    coarse_axis,
    grid_like_nnunet,
    read_between,
    resize,
    spline_matrix,
)
from esegeta.volume.space import Respace
from tests.builders import affine_of
from tests.volume.files import noise
from tests.volume.references import nnunet_axis, nnunet_new_shape, nnunet_resample

SHAPE = (17, 15, 13)
SPACINGS = [(0.5, 0.9, 1.1), (1.1, 2.3, 3.6), (0.5, 2.5, 3.1), (0.7004, 1.9, 3.1), (0.7, 1.9, 3.1)]


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("kind", ["anisotropic", "flipped", "oblique", "sheared"])
def test_nearest_and_linear_are_monais_spacing(
    kind: str, spacing: tuple[float, ...], order: int, ndim: int
) -> None:
    data = torch.from_numpy(noise((2, *SHAPE[:ndim])))
    grid = Grid(SHAPE[:ndim], affine_of(kind, ndim))
    move = Respace(spacing[:ndim], order)
    image = MetaTensor(data, affine=torch.as_tensor(grid.affine))
    mode = ("nearest", "bilinear")[order]
    expected = Spacing(spacing[:ndim], mode=mode, padding_mode="border", dtype=torch.float64)(image)
    got = move.apply(data, grid, resampling="bilinear")
    assert torch.equal(got, expected.as_tensor())
    np.testing.assert_array_equal(move.onto(grid).affine, expected.affine.numpy())


def test_between_any_grids_it_is_monais_spatial_resample() -> None:
    data = torch.from_numpy(noise((2, *SHAPE)))
    grid, onto = Grid(SHAPE, affine_of("oblique")), Grid((9, 8, 7), affine_of("sheared"))
    image = MetaTensor(data, affine=torch.as_tensor(grid.affine))
    for mode in ("bilinear", "nearest"):
        mover = SpatialResample(mode=mode, padding_mode="border", dtype=torch.float64)
        expected = mover(image, dst_affine=torch.as_tensor(onto.affine), spatial_size=onto.shape)
        got = read_between(data, grid, onto, resampling=mode)  # type: ignore[arg-type]
        assert torch.equal(got, expected.as_tensor())


def test_float64_stays_float64() -> None:
    data = torch.from_numpy(noise((1, *SHAPE))).double() * 1e-3 + 1e9
    grid = grid_of_spacing(SHAPE, (1, 1, 1))
    for move in (Respace((0.7, 1.3, 2.0)), Respace((0.7, 1.3, 2.0), 3)):
        moved = move.apply(data, grid, resampling="bilinear")
        small = move.apply(data - 1e9, grid, resampling="bilinear")
        assert (moved - 1e9 - small).abs().max() < 2e-6


@pytest.mark.parametrize("move", [Respace((0.7, 1.3, 2.0)), Respace((0.7, 1.3, 6.0), 3, "auto")])
def test_integers_beyond_float64_stay_exact(move: Respace) -> None:
    grid = Grid(SHAPE, affine_of("oblique"))
    places = torch.arange(17 * 15 * 13).reshape(1, *SHAPE)
    large = 2**60 + 3 * places
    moved = move.apply(large, grid, resampling="nearest")
    assert moved.dtype == torch.int64
    picked = move.apply(places.double(), grid, resampling="nearest").long()
    assert torch.equal(moved, 2**60 + 3 * picked)


NNUNET = [
    # spacing of the file, of the network
    ((0.7, 0.7, 1.5), (1.0, 1.0, 1.0)),
    ((0.7, 0.7, 5.0), (0.9, 0.8, 2.5)),  # the file has a coarse axis
    ((5.0, 0.8, 0.8), (3.0, 0.8, 0.8)),  # in the plane nothing changes
    ((0.8, 5.0, 0.8), (1.6, 5.0, 0.4)),  # along the axis nothing changes
    ((1.0, 1.2, 1.1), (0.5, 0.6, 4.0)),  # the network has a coarse axis
    ((0.24, 1.25, 1.25), (0.5, 1.0, 1.0)),  # two axes share the largest spacing
    ((1.0, 1.0, 3.0), (0.5, 2.0, 1.5)),  # just not more than three times
    ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)),
]


HOW = [(order, apart) for order in (0, 1, 3) for apart in ("auto", True)] + [(3, False)]


@pytest.mark.parametrize(("order", "separate"), HOW)
@pytest.mark.parametrize(("spacing", "onto"), NNUNET, ids=str)
def test_resampling_equals_nnunet(
    spacing: tuple[float, ...], onto: tuple[float, ...], order: int, separate: bool | str
) -> None:
    move = Respace(onto, order, separate)
    shape = (11, 10, 9)
    grid = grid_of_spacing(shape, spacing)
    data = noise((2, *shape)).astype(np.float64)
    force = None if separate == "auto" else bool(separate)
    expected = nnunet_resample(data, spacing, onto, order=order, force=force)
    got = move.apply(torch.from_numpy(data), grid, resampling="bilinear")
    assert move.onto(grid).shape == expected.shape[1:]
    np.testing.assert_allclose(got, expected, atol=1e-12)


@pytest.mark.parametrize("separate", ["auto", True])
def test_the_coarse_axis_equals_that_of_nnunet(separate: bool | str) -> None:
    lengths = [0.5, 1.0, 1.5, 1.6, 3.0, 3.2, 5.0]
    force = None if separate == "auto" else True
    for spacing in product(lengths, repeat=3):
        for onto in ((1.0, 1.0, 1.0), (1.0, 4.0, 1.0), (3.5, 1.0, 3.5)):
            found = coarse_axis(grid_of_spacing((4, 4, 4), spacing), onto, separate)
            assert found == nnunet_axis(spacing, onto, force), (spacing, onto)


def test_equal_spacings_of_an_oblique_affine_are_equal() -> None:
    turned = affine_of("oblique") @ np.diag([1 / 0.7, 1 / 1.9, 1 / 3.1, 1])
    turned = turned @ np.diag([1.25, 1.25, 0.24, 1])
    grid = Grid((5, 5, 5), turned)
    assert len(set(grid.spacing_mm)) == 3  # by rounding
    assert coarse_axis(grid, (1.0, 1.0, 1.0), "auto") is None
    thrice = turned @ np.diag([0.8, 0.8, 3 / 0.24, 1])
    assert coarse_axis(Grid((5, 5, 5), thrice), (1.0, 1.0, 1.0), "auto") is None


def test_a_2d_image_has_no_coarse_axis() -> None:
    assert coarse_axis(grid_of_spacing((5, 5), (0.5, 5.0)), (1.0, 1.0), "auto") is None
    assert coarse_axis(grid_of_spacing((5, 5), (0.5, 5.0)), (1.0, 1.0), True) is None


def test_new_lengths_are_nnunets_even_at_a_half() -> None:
    for length, old, new in product(range(1, 40), (0.5, 0.7, 1.0, 2.5), (0.5, 1.0, 2.0, 3.0)):
        expected = max(1, nnunet_new_shape((length,), (old,), (new,))[0])
        grid = grid_of_spacing((length, 4, 4), (old, 1, 1))
        turned = Grid(grid.shape, affine_of("oblique") @ np.diag([old / 0.7, 1 / 1.9, 1 / 3.1, 1]))
        for found in (grid, turned):
            assert grid_like_nnunet(found, (new, 1, 1)).shape[0] == expected


def test_resampling_keeps_the_outer_faces_of_the_volume() -> None:
    grid = Grid(SHAPE, affine_of("sheared"))
    onto = grid_like_nnunet(grid, (1.7, 1.1, 2.2))
    for corner in product((0, 1), repeat=3):
        ends = [
            grid_.to_mm(
                [-0.5 + at * length for at, length in zip(corner, grid_.shape, strict=True)]
            )
            for grid_ in (grid, onto)
        ]
        np.testing.assert_allclose(*ends, atol=1e-9)


def test_a_resampled_ramp_agrees_with_the_grid() -> None:
    # By linear interpolation between the same faces, away from the border.
    grid = Grid(SHAPE, affine_of("oblique") @ np.diag([1, 0.6, 0.4, 1]))
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    ramp = 3 * places[0] - 2 * places[1] + 5 * places[2]
    move = Respace((0.9, 1.1, 2.2), 1, "auto")
    onto = move.onto(grid)
    moved = move.apply(torch.from_numpy(ramp[None]).double(), grid, resampling="bilinear")[0]
    for index in [(4, 6, 5), (6, 10, 4), (8, 14, 2)]:
        i, j, k = grid.to_index(onto.to_mm(index))
        assert float(moved[index]) == pytest.approx(3 * i - 2 * j + 5 * k, abs=1e-9)


def test_splines_are_clipped_to_the_range_of_the_image() -> None:
    step = torch.zeros(1, 12, 12)
    step[:, 6:] = 1.0
    moved = resize(step, (31, 12), order=3)
    assert (float(moved.min()), float(moved.max())) == (0.0, 1.0)
    raw = spline_matrix(12, 31, 3).float() @ step[0, :, 0]
    assert raw.max() > 1.05  # the clipping does something


def test_rows_of_a_spline_sum_to_one() -> None:
    for old, new, order in product((1, 2, 7, 40), (1, 3, 40, 55), (1, 3)):
        rows = spline_matrix(old, new, order).sum(dim=1)
        torch.testing.assert_close(rows, torch.ones_like(rows), rtol=1e-12, atol=1e-12)
