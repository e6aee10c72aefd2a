"""Channels on other grids: refused, or read linearly at the voxels of the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from esegeta.errors import GridError
from esegeta.volume import ReadingWarning, load_volume
from tests.volume.files import noise, save_nifti


def plane_values(places: np.ndarray) -> np.ndarray:
    """Return a linear function of RAS millimetres, which linear interpolation keeps exactly."""
    return 2 * places[..., 0] - 3 * places[..., 1] + 0.5 * places[..., 2] + 1


def linear(path: Path, shape: tuple[int, ...], affine: np.ndarray) -> Path:
    indices = np.moveaxis(np.indices(shape), 0, -1)
    values = plane_values(indices @ affine[:3, :3].T + affine[:3, 3])
    return save_nifti(path, values.astype(np.float64), sform=affine)


FIRST = np.diag([1.0, 1.0, 2.0, 1.0])


def test_other_images_are_interpolated_linearly_onto_the_first(tmp_path: Path) -> None:
    first = save_nifti(tmp_path / "a.nii", noise((6, 5, 4)), sform=FIRST)
    # Axes in another order and direction, finer, and reaching further.
    other = np.array([[0, 0, -0.8, 7.0], [0.5, 0, 0, -1], [0, 0.9, 0, -1], [0, 0, 0, 1]])
    second = linear(tmp_path / "b.nii", (14, 12, 12), other)
    with pytest.raises(GridError, match=r"different grids.*data: \{align: first\}"):
        load_volume([first, second])
    with pytest.warns(ReadingWarning, match=r"b\.nii was resampled onto .*a\.nii, linearly$"):
        volume = load_volume([first, second], align="first")
    indices = np.moveaxis(np.indices((6, 5, 4)), 0, -1)
    expected = plane_values(indices * np.array([1, 1, 2]))
    np.testing.assert_allclose(volume.data[1].numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(volume.data[0].numpy(), noise((6, 5, 4)))
    np.testing.assert_array_equal(volume.affine, FIRST)


def test_the_share_of_voxels_beyond_an_image_is_reported(tmp_path: Path) -> None:
    first = save_nifti(tmp_path / "a.nii", noise((10, 5, 4)), sform=FIRST)
    second = linear(tmp_path / "b.nii", (6, 5, 4), FIRST)
    with pytest.warns(ReadingWarning, match=r"linearly; 40% of the voxels lie beyond it"):
        volume = load_volume([first, second], align="first")
    found = volume.data[1].numpy()
    np.testing.assert_allclose(found[6:], np.broadcast_to(found[5:6], (4, 5, 4)), atol=1e-6)


def test_equal_voxels_in_another_order_are_turned_without_a_warning(tmp_path: Path) -> None:
    array = noise((6, 5, 4))
    flipped = FIRST @ np.array([[-1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    first = save_nifti(tmp_path / "a.nii", array, sform=FIRST)
    second = save_nifti(tmp_path / "b.nii", array[::-1], sform=flipped)
    volume = load_volume([first, second], align="first")
    np.testing.assert_array_equal(volume.data[1].numpy(), array)
