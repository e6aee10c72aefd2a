"""Images in: shapes and channels as files store them, values and geometry as they stand there."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from esegeta.errors import DataError
from esegeta.volume import Case, Layout, Preprocess, Reading, check_case, load_volume, read_case
from esegeta.volume.files import read_header
from tests.builders import SHAPES, affine_of
from tests.volume.files import noise, read, save_nifti

SUFFIXES = [".nii", ".nii.gz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_volume_without_preprocessing_equals_the_file(
    ndim: int, suffix: str, kind: type, tmp_path: Path
) -> None:
    array = noise(SHAPES[ndim])
    affine = affine_of("oblique", ndim)
    path = save_nifti(tmp_path / f"a{suffix}", array, sform=affine, kind=kind)
    volume = read(path, ndim=ndim)
    assert volume.data.dtype == torch.float32
    np.testing.assert_array_equal(volume.data[0].numpy(), array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
    assert volume.affine.dtype == np.float64
    assert (volume.ndim, volume.num_channels, volume.name) == (ndim, 1, "patient")
    assert volume.channels == ("0",)
    assert volume.source.paths == (path,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_files_are_channels(ndim: int, suffix: str, tmp_path: Path) -> None:
    arrays = [noise(SHAPES[ndim], seed) for seed in range(3)]
    paths = [save_nifti(tmp_path / f"{n}{suffix}", array) for n, array in enumerate(arrays)]
    volume = read(paths, num_channels=3, ndim=ndim)
    np.testing.assert_array_equal(volume.data.numpy(), np.stack(arrays))


STORED = {
    "3d+c": ((9, 11, 7, 3), 3, (9, 11, 7)),
    "3d+t+c": ((9, 11, 7, 1, 3), 3, (9, 11, 7)),
    "2d+c": ((13, 11, 3), 2, (13, 11)),
    "2d+1+c": ((13, 11, 1, 3), 2, (13, 11, 1)),
}


@pytest.mark.parametrize("stored", STORED)
def test_trailing_channels_come_first(stored: str, tmp_path: Path) -> None:
    shape, network_ndim, spatial = STORED[stored]
    array = noise(shape)
    path = save_nifti(tmp_path / "a.nii.gz", array)
    volume = read(path, num_channels=3, ndim=network_ndim)
    assert volume.grid.shape == spatial
    for channel in range(3):
        expected = array[..., channel].reshape(spatial)
        np.testing.assert_array_equal(volume.data[channel].numpy(), expected)


def test_a_3d_image_for_a_2d_network_stays_3d(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", noise((9, 11, 3)))
    assert read(path, ndim=2).grid.shape == (9, 11, 3)
    assert read(path, num_channels=3, ndim=2).grid.shape == (9, 11)


def test_a_trailing_axis_of_one_is_no_channel_axis(tmp_path: Path) -> None:
    array = noise((5, 6, 7, 1))
    volume = read(save_nifti(tmp_path / "a.nii.gz", array))
    np.testing.assert_array_equal(volume.data[0].numpy(), array[..., 0])


def test_a_channels_axis_beyond_the_last_is_refused(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii", noise((6, 5, 4)))
    reading = Reading(4, 2, layout=Layout(channels_axis=3))
    with pytest.raises(DataError, match="channels_axis is 3, but its axes are 0 to 2"):
        check_case(Case("a", (path,)), reading)


def test_stored_integers_are_scaled_by_the_header(tmp_path: Path) -> None:
    array = 100 * noise(SHAPES[3])
    image = nib.Nifti1Image(array, affine_of("anisotropic"))
    image.header.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.nii")
    stored = nib.load(tmp_path / "a.nii").dataobj
    assert stored.slope != 1
    expected = stored.get_unscaled() * stored.slope + stored.inter
    data = read(tmp_path / "a.nii").data[0].numpy()
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(data, array, atol=stored.slope)


def test_header_alone_tells_grid_and_channels(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", noise((9, 11, 7, 4)))
    grid, num_channels = read_header(path, Reading(4, 3))
    assert (grid.shape, num_channels) == ((9, 11, 7), 4)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_label_map_is_read_as_integers_beside_the_image(
    ndim: int, dtype: type, tmp_path: Path
) -> None:
    truth = np.random.default_rng(0).integers(0, 5, SHAPES[ndim])
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPES[ndim]))
    label = save_nifti(tmp_path / "label.nii.gz", truth.astype(dtype))
    reading = Reading(1, ndim)
    _, read_back = read_case(Case("a", (image,), label), Preprocess(), reading)
    assert read_back is not None
    assert read_back.dtype == torch.long
    np.testing.assert_array_equal(read_back.numpy(), truth)


@pytest.mark.parametrize("spacing_mm", [None, (0.93, 1.37, 1.1)])
def test_label_map_follows_the_image_to_its_nearest_voxels(
    ndim: int, spacing_mm: tuple[float, ...] | None, tmp_path: Path
) -> None:
    truth = np.random.default_rng(0).integers(0, 200, SHAPES[ndim]).astype(np.uint8)
    affine = affine_of("oblique", ndim)
    image = save_nifti(tmp_path / "image.nii.gz", noise(SHAPES[ndim]), sform=affine)
    label = save_nifti(tmp_path / "label.nii.gz", truth, sform=affine)
    codes, spacing = ("PSL", spacing_mm) if ndim == 3 else ("PL", spacing_mm and spacing_mm[:2])
    preprocess = Preprocess(codes, spacing)
    volume, moved = read_case(Case("a", (image,), label), preprocess, Reading(1, ndim))
    assert moved is not None
    assert tuple(moved.shape) == volume.grid.shape
    turn = np.linalg.inv(volume.source.grid.affine) @ volume.affine
    last, compared = np.array(truth.shape) - 1, 0
    for voxel in np.ndindex(volume.grid.shape):
        place = turn[:ndim, :ndim] @ voxel + turn[:ndim, 3]
        if np.abs(place % 1 - 0.5).min() < 1e-4:
            continue  # halfway between two voxels either is the nearest
        compared += 1
        assert moved[voxel] == truth[tuple(np.clip(place.round().astype(int), 0, last))]
    assert compared > moved.numel() / 2


def test_load_volume_preprocesses_in_one_line(tmp_path: Path) -> None:
    array = 500 * noise((9, 11, 7))
    path = save_nifti(tmp_path / "torso.nii.gz", array)
    volume = load_volume(path, window_hu=(-250, 400))
    assert volume.name == "torso"
    expected = (np.clip(array, -250, 400) + 250) / 650
    np.testing.assert_allclose(volume.data[0].numpy(), expected, atol=1e-6)
    both = load_volume([path, path], orientation="LPS", name="twice")
    assert (both.num_channels, both.name) == (2, "twice")
    assert nib.aff2axcodes(both.affine) == ("L", "P", "S")


def test_load_volume_takes_trailing_channels(tmp_path: Path) -> None:
    array = noise((9, 11, 7, 3))
    volume = load_volume(str(save_nifti(tmp_path / "a.nii.gz", array)))
    np.testing.assert_array_equal(volume.data.numpy(), np.moveaxis(array, -1, 0))
