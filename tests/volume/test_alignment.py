"""Files of one patient: which grids hold the same voxels, how arrays are turned, what differs."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from esegeta.errors import GridError
from esegeta.volume import (
    Case,
    Grid,
    Preprocess,
    Reading,
    check_case,
    grid_of_spacing,
    read_beside,
    read_case,
    read_label_map,
)
from esegeta.volume.alignment import describe_difference, turn_onto
from tests.builders import SHAPES, affine_of
from tests.volume.files import noise, read, save_nifti

KINDS = ["anisotropic", "flipped", "oblique", "sheared"]
TURNS_3D = [
    (order, flips) for order in permutations(range(3)) for flips in product((False, True), repeat=3)
]
TURNS_2D = [
    (order, flips) for order in permutations(range(2)) for flips in product((False, True), repeat=2)
]
VERTICAL = np.array([[0, 0, 3.1, 4], [0.7, 0, 0, 5], [0, 1.9, 0, 6], [0, 0, 0, 1]], float)
"""A sagittal slice: neither of its axes is x."""


def stored(array: np.ndarray, affine: np.ndarray, order, flips) -> tuple[np.ndarray, np.ndarray]:
    """Store an image with other axes, by numpy alone: each voxel keeps its place."""
    turned, matrix = array.transpose(order), affine.copy()
    ndim = array.ndim
    matrix[:, :ndim] = affine[:, list(order)]
    for axis in range(ndim):
        if flips[axis]:
            turned = np.flip(turned, axis)
            matrix[:, 3] += matrix[:, axis] * (turned.shape[axis] - 1)
            matrix[:, axis] *= -1
    return np.ascontiguousarray(turned), matrix


@pytest.mark.parametrize(("order", "flips"), TURNS_3D)
def test_label_maps_of_every_axis_order_are_turned_exactly(order, flips, tmp_path: Path) -> None:
    array, truth = noise(SHAPES[3]), np.arange(9 * 11 * 7, dtype=np.int32).reshape(SHAPES[3])
    affine = affine_of("oblique")
    image = save_nifti(tmp_path / "image.nii.gz", array, sform=affine)
    turned, matrix = stored(truth, affine, order, flips)
    label = save_nifti(tmp_path / "label.nii.gz", turned, sform=matrix)
    second, _ = stored(array, affine, order, flips)
    channel = save_nifti(tmp_path / "second.nii.gz", second, sform=matrix)
    case = Case("a", (image, channel), label)
    volume, read_back = read_case(case, Preprocess(), Reading(2, 3))
    assert read_back is not None
    np.testing.assert_array_equal(read_back.numpy(), truth)
    np.testing.assert_array_equal(volume.data.numpy(), np.stack([array, array]))
    baseline = read_beside((channel, image), volume, Preprocess(), Reading(2, 3))
    np.testing.assert_array_equal(baseline.data.numpy(), np.stack([array, array]))
    assert baseline.grid.same_as(volume.grid)


@pytest.mark.parametrize("affine", [affine_of("oblique", 2), VERTICAL], ids=["oblique", "vertical"])
@pytest.mark.parametrize(("order", "flips"), TURNS_2D)
def test_slices_of_every_axis_order_are_turned_exactly(
    order, flips, affine: np.ndarray, tmp_path: Path
) -> None:
    array = noise(SHAPES[2])
    image = save_nifti(tmp_path / "image.nii.gz", array, sform=affine)
    truth = np.arange(array.size, dtype=np.int32).reshape(array.shape)
    turned, matrix = stored(truth, affine, order, flips)
    label = save_nifti(tmp_path / "label.nii.gz", turned, sform=matrix)
    volume = read(image, ndim=2)
    np.testing.assert_array_equal(read_label_map(label, volume, Preprocess()).numpy(), truth)


def test_a_las_label_of_an_lps_image_follows_the_preprocessing(tmp_path: Path) -> None:
    affine = np.diag([-0.8, -0.9, 1.5, 1.0])
    truth = np.random.default_rng(0).integers(0, 9, (10, 12, 8)).astype(np.uint8)
    image = save_nifti(tmp_path / "image.nii.gz", noise((10, 12, 8)), sform=affine)
    assert "".join(nib.aff2axcodes(affine)) == "LPS"
    las, matrix = stored(truth, affine, (0, 1, 2), (False, True, False))
    assert "".join(nib.aff2axcodes(matrix)) == "LAS"
    same = save_nifti(tmp_path / "lps.nii.gz", truth, sform=affine)
    other = save_nifti(tmp_path / "las.nii.gz", las, sform=matrix)
    preprocess = Preprocess("RAS", (1.1, 1.1, 1.1))
    volume = read(image, preprocess=preprocess)
    expected = read_label_map(same, volume, preprocess)
    assert torch.equal(read_label_map(other, volume, preprocess), expected)


def test_a_label_with_a_qform_off_by_10_micrometres_is_accepted(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-120.3, 88.1, -40.7)
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPES[3]), sform=affine)
    off = affine.copy()
    off[:3, 3] += 0.010
    truth = np.arange(9 * 11 * 7, dtype=np.int16).reshape(SHAPES[3])
    label = save_nifti(tmp_path / "label.nii.gz", truth, sform=off, qform=off, sform_code=0)
    volume, read_back = read_case(Case("a", (image,), label), Preprocess(), Reading(1, 3))
    assert read_back is not None
    np.testing.assert_array_equal(read_back.numpy(), truth)
    np.testing.assert_array_equal(
        volume.affine[:3, 3].astype(np.float32), np.float32(affine[:3, 3])
    )


@pytest.mark.parametrize("degrees", [(0.0, 0.0, 0.0), (4.0, -7.0, 11.0), (33.0, 21.0, -50.0)])
def test_a_label_written_by_itk_is_accepted(degrees: tuple[float, ...], tmp_path: Path) -> None:
    from tests.builders import rotation

    affine = np.eye(4)
    affine[:3, :3] = rotation(*degrees) @ np.diag([0.7, 0.7, 1.5])
    affine[:3, 3] = (-123.456, 98.765, -321.0)
    shape = (60, 50, 30)
    image = save_nifti(tmp_path / "image.nii.gz", noise(shape), sform=affine)
    opened = sitk.ReadImage(str(image))
    truth = np.arange(60 * 50 * 30, dtype=np.int32).reshape(shape)
    written = sitk.GetImageFromArray(truth.T)
    written.CopyInformation(opened)
    sitk.WriteImage(written, str(tmp_path / "label.nii.gz"))
    case = Case("a", (image,), tmp_path / "label.nii.gz")
    _, read_back = read_case(case, Preprocess(), Reading(1, 3))
    assert read_back is not None
    np.testing.assert_array_equal(read_back.numpy(), truth)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0], ids=["micron", "mm", "coarse"])
@pytest.mark.parametrize("kind", KINDS)
def test_differences_up_to_a_hundredth_of_a_voxel_are_accepted(
    ndim: int, kind: str, scale: float
) -> None:
    affine = affine_of(kind, ndim)
    affine[:3] *= scale
    grid = Grid(SHAPES[ndim], affine)
    for axis in range(ndim):
        for share, same in ((0.0099, True), (0.0101 + 5e-4, False)):
            shifted, stretched = affine.copy(), affine.copy()
            shifted[:3, 3] += share * affine[:3, axis]
            stretched[:3, axis] *= 1 + share / (grid.shape[axis] - 1)
            for moved in (shifted, stretched):
                assert (turn_onto(Grid(grid.shape, moved), grid) is not None) is same
                assert (turn_onto(grid, Grid(grid.shape, moved)) is not None) is same


def test_a_neighbouring_slice_is_not_the_same_grid() -> None:
    grid = Grid((5, 4), affine_of("anisotropic", 2))
    beside = grid.affine.copy()
    beside[:3, 3] += grid.affine[:3, 2]
    assert turn_onto(Grid((5, 4), beside), grid) is None
    assert turn_onto(grid_of_spacing((5, 4, 1), (1, 1, 1)), grid) is None


def test_mirrored_grids_are_not_taken_for_the_same(tmp_path: Path) -> None:
    # The same voxels in the file, in the other direction of space: another patient's side.
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPES[3]), sform=affine)
    label = save_nifti(tmp_path / "label.nii.gz", np.ones(SHAPES[3], np.uint8), sform=mirrored)
    with pytest.raises(
        GridError, match=r"has origin \(0, 0, 0\) mm; .* has origin \(-8, 0, 0\) mm"
    ):
        check_case(Case("a", (image,), label), Reading(1, 3))


def test_only_the_differing_property_is_described() -> None:
    grid = grid_of_spacing((10, 20, 30), (1, 1, 2))
    assert describe_difference(grid, grid_of_spacing((10, 20, 31), (1, 1, 2))) == (
        "10x20x30 voxels",
        "10x20x31 voxels",
    )
    assert describe_difference(grid, grid_of_spacing((10, 20, 30), (1, 1, 2.001))) == (
        "spacing 1x1x2 mm",
        "spacing 1x1x2.001 mm",
    )
    moved = grid.affine.copy()
    moved[:3, 3] = (0.0, 0.0, 0.05)
    assert describe_difference(grid, Grid(grid.shape, moved)) == (
        "origin (0, 0, 0) mm",
        "origin (0, 0, 0.05) mm, 0.05 mm away",
    )
    angle = np.deg2rad(3)
    turned = grid.affine.copy()
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    first, second = describe_difference(grid, Grid(grid.shape, turned))
    assert first == "axes along (1, 0, 0), (0, 1, 0), (0, 0, 1)"
    assert second.endswith("turned by 3 degrees")
    assert describe_difference(grid, grid_of_spacing((10, 20), (1, 1))) == ("3 axes", "2 axes")


def test_shapes_are_compared_in_patient_axes() -> None:
    grid = grid_of_spacing((10, 20, 30), (1, 1, 2))
    other = Grid((31, 10, 20), grid.affine[:, [2, 0, 1, 3]])
    assert describe_difference(grid, other) == ("10x20x30 voxels", "10x20x31 voxels")


def test_axes_without_a_match_are_described_as_stored() -> None:
    grid, turned = grid_of_spacing((4, 5, 6), (1, 1, 1)), np.eye(4)
    turned[:3, :3] = 2 / 3 - np.eye(3)  # each of its axes is most like two of the others
    first, second = describe_difference(grid, Grid((4, 5, 6), turned))
    assert first == "axes along (1, 0, 0), (0, 1, 0), (0, 0, 1)"
    assert second.startswith("axes along (-0.333333, 0.666667, 0.666667), (0.666667, -0.333333, ")


def test_accumulated_small_differences_are_described() -> None:
    grid = grid_of_spacing((201, 201, 201), (1, 1, 1))
    affine = grid.affine.copy()
    affine[0, 0] += 0.008 / 200  # 0.008 voxels at the far end, and as many at the near one
    affine[0, 3] += 0.008
    assert turn_onto(Grid(grid.shape, affine), grid) is None
    first, second = describe_difference(grid, Grid(grid.shape, affine))
    assert first == "201x201x201 voxels of 1x1x1 mm, origin (0, 0, 0) mm"
    assert second.startswith("201x201x201 voxels of 1x1x1 mm, origin (0.008, 0, 0) mm, ")
    assert second.endswith("differences that add up to more than a hundredth of a voxel")


def test_different_grids_never_have_the_same_description() -> None:
    grid = grid_of_spacing((200, 200, 200), (1, 1, 1))
    rng = np.random.default_rng(0)
    for _ in range(50):
        affine = grid.affine.copy()
        affine[:3, :] += rng.normal(0, 1e-4, (3, 4))
        other = Grid(grid.shape, affine)
        if turn_onto(other, grid) is None:
            first, second = describe_difference(grid, other)
            assert first != second
