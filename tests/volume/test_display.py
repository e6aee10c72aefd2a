"""Copies for the eye hold the values that they say, where the image has them."""

from __future__ import annotations

import gzip

import nibabel as nib
import numpy as np
import pytest

from esegeta.volume import (
    Grid,
    colour_copy,
    excerpt_of,
    label_copy,
    map_copy,
    scan_copy,
)
from tests.builders import affine_of

SHAPE = (12, 11, 9)


def opened(content: bytes) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


def oblique() -> Grid:
    return Grid(SHAPE, affine_of("oblique"))


def test_whole_numbers_are_copied_as_they_are() -> None:
    array = np.random.default_rng(0).integers(-1024, 3000, SHAPE).astype(np.float32)
    copy = opened(scan_copy(array, oblique()))
    assert copy.get_data_dtype() == np.int16
    assert np.array_equal(copy.get_fdata(), array)
    assert np.allclose(copy.affine, oblique().affine, atol=1e-5)


def test_a_scan_of_fractions_is_exact_to_half_a_step() -> None:
    array = np.random.default_rng(0).normal(5, 2, SHAPE)
    copy = opened(scan_copy(array, oblique()))
    step = (array.max() - array.min()) / 65534
    assert np.abs(copy.get_fdata() - array).max() <= 0.51 * step


def test_a_constant_scan_keeps_its_value() -> None:
    assert np.allclose(opened(scan_copy(np.full(SHAPE, 0.3), oblique())).get_fdata(), 0.3)


def test_a_map_is_exact_to_half_a_thousandth_and_not_clipped() -> None:
    array = np.random.default_rng(0).standard_t(2, SHAPE).clip(-20, 20)
    array[0, 0, 0], array[1, 1, 1] = 14.0, -29.0
    copy = opened(map_copy(array, oblique(), 1.0)).get_fdata()
    assert np.abs(copy - array).max() <= 0.501e-3
    assert copy[1, 1, 1] == pytest.approx(-29.0)


def test_the_largest_value_of_a_map_with_outliers_is_exact() -> None:
    array = np.zeros(SHAPE)
    array[2, 3, 4] = 1e6
    assert opened(map_copy(array, oblique(), 1.0)).get_fdata()[2, 3, 4] == pytest.approx(1e6)


@pytest.mark.parametrize("most", [255, 1000])
def test_labels_are_copied_exactly_as_labels(most: int) -> None:
    array = np.random.default_rng(0).integers(0, most + 1, SHAPE)
    copy = opened(label_copy(array, oblique()))
    assert np.array_equal(copy.get_fdata(), array)
    assert copy.header.get_intent()[0] == "label"


def test_colours_are_copied_exactly() -> None:
    array = np.random.default_rng(0).integers(0, 256, (3, 6, 5))
    copy = np.asarray(opened(colour_copy(array, Grid((6, 5), np.eye(4)))).dataobj)
    assert copy.shape == (6, 5, 1)
    for place, name in enumerate("RGB"):
        assert np.array_equal(copy[..., 0][name], array[place])


def test_a_small_image_is_shown_whole() -> None:
    view = excerpt_of(oblique(), None)
    assert view.note == ""
    assert np.array_equal(view.grid(oblique()).affine, oblique().affine)
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    for copy in (view.mean, view.strongest, view.nearest):
        assert np.array_equal(copy(array), array)


def test_a_large_image_is_cropped_to_its_segmentation_with_a_note() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[4:6, 5:7, 3:5] = True
    view = excerpt_of(oblique(), mask, margin_mm=2.0, most_voxels=400)
    assert view.box == (slice(1, 9), slice(3, 9), slice(2, 6))
    assert "cropped around the segmentation" in view.note
    shown = view.grid(oblique())
    assert shown.shape == (8, 6, 4)
    assert shown.to_mm((0, 0, 0)) == pytest.approx(oblique().to_mm((1, 3, 2)))


def test_an_image_still_too_large_is_thinned_out_in_place() -> None:
    view = excerpt_of(oblique(), None, most_voxels=400)
    assert view.stride == 2
    assert "one voxel for 2" in view.note
    shown = view.grid(oblique())
    assert shown.shape == (6, 6, 5)
    assert shown.to_mm((1, 1, 1)) == pytest.approx(oblique().to_mm((2.5, 2.5, 2.5)))


def test_thinning_takes_the_mean_of_scans_and_the_strongest_of_maps() -> None:
    array = np.random.default_rng(0).normal(size=SHAPE)
    view = excerpt_of(oblique(), None, most_voxels=400)
    block = array[2:4, 4:6, 6:8]
    assert view.mean(array)[1, 2, 3] == pytest.approx(block.mean())
    assert view.strongest(array)[1, 2, 3] == block.flat[np.abs(block).argmax()]
    # The last block of an odd axis holds one voxel.
    assert view.mean(array)[0, 5, 0] == pytest.approx(array[0:2, 10, 0:2].mean())
    assert view.nearest(array).shape == view.mean(array).shape == (6, 6, 5)
