"""The way back onto the source's grid: exact for axes, within interpolation for spacing."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.errors import DataError
from esegeta.volume import (
    Grid,
    Preprocess,
    Volume,
    map_on_source,
    reorient_like,
    resample,
    volume_from_tensor,
    write_label_map,
)
from tests.builders import SHAPES, affine_of
from tests.volume.files import array_of, noise, read, save_nifti

AXIS_CODES = [
    "".join(letters) for order in permutations(("RL", "AP", "SI")) for letters in product(*order)
]
PLANE_CODES = ["RA", "LA", "LP", "AR", "PL"]
SPACINGS = {"finer": (0.5, 0.9, 1.1), "coarser": (1.1, 2.3, 3.6), "mixed": (0.5, 2.5, 3.1)}
CONSTANT = 7.25


def source(kind: str, ndim: int, data: torch.Tensor | None = None) -> Volume:
    shape = (17, 15, 13)[:ndim]
    data = torch.from_numpy(noise((2, *shape))) if data is None else data
    return volume_from_tensor(data, affine=affine_of(kind, ndim))


def ramp(grid: Grid) -> torch.Tensor:
    """Return a linear function of the position in mm, `1 *S`."""
    slope = np.array([0.31, -0.17, 0.23])
    values = np.full(grid.shape, slope @ grid.affine[:3, 3])
    for axis, indices in enumerate(np.indices(grid.shape)):
        values += indices * (slope @ grid.affine[:3, axis])
    return torch.from_numpy(values)[None].float()


def test_there_are_48_orientations() -> None:
    assert len(set(AXIS_CODES)) == 48


@pytest.mark.parametrize("codes", AXIS_CODES)
def test_reorientation_moves_every_voxel_to_its_place_and_back(codes: str) -> None:
    before = source("sheared", 3)
    after = Preprocess(orientation=codes)(before)
    assert "".join(nib.aff2axcodes(after.affine)) == codes
    # Each voxel keeps its value at its place in space.
    for index in [(0, 0, 0), (1, 2, 3), tuple(n - 1 for n in after.grid.shape)]:
        place = before.grid.to_index(after.grid.to_mm(index))
        there = tuple(round(value) for value in place)
        np.testing.assert_allclose(place, there, atol=1e-6)
        assert torch.equal(after.data[(slice(None), *index)], before.data[(slice(None), *there)])
    for channel in range(2):
        back = map_on_source(after.data[channel], after)
        np.testing.assert_array_equal(back, before.data[channel].numpy())


@pytest.mark.parametrize("kind", ["anisotropic", "flipped", "oblique"])
@pytest.mark.parametrize("codes", PLANE_CODES)
def test_reorientation_in_2d(codes: str, kind: str) -> None:
    before = source(kind, 2)
    after = Preprocess(orientation=codes)(before)
    assert "".join(nib.aff2axcodes(after.affine))[:2] == codes
    np.testing.assert_array_equal(map_on_source(after.data[0], after), before.data[0].numpy())


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "vertical-slope"])
def test_a_2d_slice_in_any_plane_goes_back_unchanged(plane: str, tmp_path: Path) -> None:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    axes = {"sagittal": (1, 2, 0), "coronal": (0, 2, 1), "vertical-slope": (2, 0, 1)}[plane]
    for column, row in enumerate(axes):
        affine[row, column] = (0.7, 1.9, 3.1)[column]
    array = noise(SHAPES[2])
    volume = read(save_nifti(tmp_path / "slice.nii.gz", array, sform=affine), ndim=2)
    np.testing.assert_array_equal(map_on_source(volume.data[0], volume), array)
    for preprocess in (Preprocess("RA"), Preprocess(None, (1.0, 1.0))):
        with pytest.raises(DataError, match="does not lie in the x-y plane"):
            preprocess(volume)


@pytest.mark.parametrize("orientation", [None, "PSL"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", ["flipped", "oblique", "sheared"])
def test_a_linear_ramp_comes_back_away_from_the_border(
    ndim: int, kind: str, spacing: str, orientation: str | None
) -> None:
    plane = "PL" if ndim == 2 and orientation else orientation
    before = source(kind, ndim, ramp(source(kind, ndim).grid))
    after = Preprocess(plane, SPACINGS[spacing][:ndim])(before)
    # Inside, the network sees the ramp where it is ...
    seen = after.data[0] - ramp(after.grid)[0]
    inner = tuple(slice(n // 3, n - n // 3) for n in after.grid.shape)
    assert seen[inner].abs().max() < 2e-3
    # ... and what comes back is the ramp on the grid of the source.
    back = map_on_source(after.data[0], after)
    inner = tuple(slice(n // 3, n - n // 3) for n in back.shape)
    np.testing.assert_allclose(back[inner], before.data[0].numpy()[inner], atol=5e-3)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("kind", ["anisotropic", "oblique", "sheared"])
def test_a_constant_comes_back_up_to_the_border(ndim: int, kind: str, spacing: str) -> None:
    shape = (17, 15, 13)[:ndim]
    before = source(kind, ndim, torch.full((1, *shape), CONSTANT))
    after = Preprocess("RAS", SPACINGS[spacing][:ndim])(before)
    np.testing.assert_allclose(after.data.numpy(), CONSTANT, rtol=1e-6)
    back = map_on_source(after.data[0], after)
    assert back.shape == shape
    np.testing.assert_allclose(back, CONSTANT, rtol=1e-6)


def test_the_asked_spacing_is_reached(ndim: int) -> None:
    after = Preprocess(None, (1.0, 2.0, 2.5)[:ndim])(source("oblique", ndim))
    np.testing.assert_allclose(after.grid.spacing_mm, (1.0, 2.0, 2.5)[:ndim], rtol=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_label_integers_are_kept_there_and_back(ndim: int, spacing: str) -> None:
    shape = (17, 15, 13)[:ndim]
    blocks = torch.zeros(shape, dtype=torch.long)
    blocks[tuple(slice(0, n // 2) for n in shape)] = 7
    blocks[tuple(slice(n // 2, n) for n in shape)] = 201
    grid = source("oblique", ndim).grid
    moved, onto = Preprocess("RAS", SPACINGS[spacing][:ndim]).move(
        blocks[None].float(), grid, resampling="nearest"
    )
    assert set(moved.unique().tolist()) == {0, 7, 201}
    back = resample(moved, onto, grid, resampling="nearest")[0].long()
    assert set(back.unique().tolist()) == {0, 7, 201}
    middle = tuple(slice(n // 8, n // 4) for n in shape)
    assert (back[middle] == 7).all()


def test_a_written_label_map_holds_no_value_between_two_labels(ndim: int, tmp_path: Path) -> None:
    moved = Preprocess("RAS", SPACINGS["coarser"][:ndim])(source("oblique", ndim))
    labels = 200 * torch.randint(0, 2, moved.grid.shape)
    write_label_map(tmp_path / "labels.nii.gz", labels, moved)
    written = array_of(tmp_path / "labels.nii.gz")
    assert written.shape == moved.source.grid.shape
    assert set(np.unique(written)) == {0, 200}


def test_reorient_like_turns_the_grid_with_the_data() -> None:
    volume = source("sheared", 3)
    like = Preprocess(orientation="IPR")(volume).grid
    moved, grid = reorient_like(volume.data, volume.grid, like)
    assert grid.same_as(like)
    assert torch.equal(moved, Preprocess(orientation="IPR")(volume).data)


def test_a_map_brought_back_keeps_its_values_not_its_sum() -> None:
    # Densities: a fourfold finer grid in 2D holds about four times the sum.
    before = source("anisotropic", 2, torch.ones(1, 17, 15))
    after = Preprocess(None, (0.35, 0.95))(before)
    back = map_on_source(torch.ones(after.grid.shape), after)
    assert after.data.numel() > 3 * before.data.numel()
    np.testing.assert_allclose(back, 1.0)
