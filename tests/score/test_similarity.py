"""How alike maps are: scipy's and scikit-image's figures, and what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage.feature import hog as histograms
from skimage.metrics import structural_similarity as skimage_ssim
from torch import Tensor

from esegeta.score.similarity import (
    cosine_similarity,
    hog,
    rank_similarity,
    ssim,
    structural_similarity,
)

SHAPES = {2: (40, 45), 3: (27, 30, 28)}
EVEN = (1.0, 1.0, 1.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def smooth(*shape: int, seed: int = 0) -> Tensor:
    values = noise(*shape, seed=seed).numpy()
    blurred = [ndimage.gaussian_filter(channel, 2.0) for channel in values]
    return torch.from_numpy(np.stack(blurred)) * 10


def picture_of(map_: Tensor) -> np.ndarray:
    """Return a map that reaches every voxel as it is looked at, slowly."""
    magnitude = map_.double().abs().sum(dim=0).numpy()
    values = np.sort(magnitude.ravel())
    white = values[math.ceil(0.99 * values.size) - 1]
    return np.minimum(magnitude / white, 1)


def test_spearman_is_scipys_with_many_ties(ndim: int) -> None:
    one = (3 * noise(2, *SHAPES[ndim])).round()
    other = (2 * noise(2, *SHAPES[ndim], seed=1) + one).round()
    where = ((one != 0).any(dim=0) | (other != 0).any(dim=0)).numpy()
    expected = stats.spearmanr(one.numpy()[:, where].ravel(), other.numpy()[:, where].ravel())
    assert where.sum() < where.size
    assert rank_similarity(one, other, EVEN[:ndim]) == pytest.approx(expected.statistic, abs=1e-12)


@pytest.mark.parametrize("measure", [rank_similarity, ssim, hog, cosine_similarity])
def test_a_map_has_similarity_one_with_itself_at_any_scale(ndim: int, measure: object) -> None:
    map_ = smooth(2, *SHAPES[ndim])
    assert measure(map_, map_, EVEN[:ndim]) == pytest.approx(1, abs=1e-9)
    assert measure(map_, 1e-6 * map_, EVEN[:ndim]) == pytest.approx(1, abs=1e-6)


def test_the_sign_counts_for_ranks_alone(ndim: int) -> None:
    map_, spacing = smooth(1, *SHAPES[ndim]), EVEN[:ndim]
    assert rank_similarity(map_, -map_, spacing) == pytest.approx(-1, abs=1e-12)
    assert cosine_similarity(map_, -map_, spacing) == pytest.approx(-1, abs=1e-12)
    assert ssim(map_, -map_, spacing) == pytest.approx(1, abs=1e-12)
    assert hog(map_, -map_, spacing) == pytest.approx(1, abs=1e-12)


def test_unrelated_maps_are_less_similar(ndim: int) -> None:
    one, other = smooth(1, *SHAPES[ndim]), smooth(1, *SHAPES[ndim], seed=1)
    mixed = one + 0.2 * other
    for measure in (rank_similarity, ssim, hog, cosine_similarity):
        far, near = (measure(one, item, EVEN[:ndim]) for item in (other, mixed))
        assert far < 0.5 < near < 1


@pytest.mark.parametrize("measure", [rank_similarity, hog, cosine_similarity])
def test_voxels_that_neither_map_reaches_do_not_count(ndim: int, measure: object) -> None:
    one, other = smooth(2, *SHAPES[ndim]), smooth(2, *SHAPES[ndim], seed=1)
    wide = [torch.nn.functional.pad(map_, (7, 3) * ndim) for map_ in (one, other)]
    near = measure(one, other, EVEN[:ndim])
    assert measure(*wide, EVEN[:ndim]) == pytest.approx(near, abs=1e-12)


def test_ssim_counts_reached_voxels_alone(ndim: int) -> None:
    """Two bright corners in a wide dark picture are not alike for the darkness around them."""
    one, other = torch.zeros(2, 1, *SHAPES[ndim])
    one[(0, *[slice(0, 6)] * ndim)] = smooth(1, *[6] * ndim)
    other[(0, *[slice(-6, None)] * ndim)] = smooth(1, *[6] * ndim, seed=1)
    assert ssim(one, other, EVEN[:ndim]) < 0.1


@pytest.mark.parametrize("start", [0, 3, 12])
def test_ssim_of_a_part_of_a_wide_picture(ndim: int, start: int) -> None:
    """Looked at in the box around the part, with the black around it, or as the picture whole."""
    one, other = torch.zeros(2, 1, *SHAPES[ndim])
    box = (0, *[slice(start, start + 11)] * ndim)
    for map_, seed in ((one, 0), (other, 1)):
        map_[box] = noise(*[11] * ndim, seed=seed)
    white = [map_[box].abs().double().flatten().sort().values for map_ in (one, other)]
    pictures = [
        (map_[0].abs().double() / values[math.ceil(0.99 * len(values)) - 1]).clamp(max=1)
        for map_, values in zip((one, other), white, strict=True)
    ]
    found = structural_similarity(*pictures, [1.5] * ndim)[box[1:]]
    assert ssim(one, other, EVEN[:ndim]) == pytest.approx(float(found.mean()), abs=1e-9)


def test_ssim_is_scikit_images(ndim: int) -> None:
    one, other = (
        torch.from_numpy(picture_of(smooth(1, *SHAPES[ndim], seed=seed))) for seed in (0, 1)
    )
    found = structural_similarity(one, (one + other) / 2, [1.5] * ndim)
    options = {"data_range": 1, "gaussian_weights": True, "use_sample_covariance": False}
    mean, expected = skimage_ssim(
        one.numpy(), ((one + other) / 2).numpy(), full=True, sigma=1.5, **options
    )
    inside = (slice(5, -5),) * ndim
    assert np.allclose(found[inside], expected[inside], atol=1e-7)
    assert float(found[inside].mean()) == pytest.approx(mean, abs=1e-7)


def test_the_window_of_ssim_is_as_wide_in_mm_along_each_axis(ndim: int) -> None:
    spacing_mm = (3.0, 1.0, 2.0)[:ndim]
    one, other = smooth(2, *SHAPES[ndim]), smooth(2, *SHAPES[ndim], seed=1)
    a, b = picture_of(one), picture_of(other)
    sigmas = [1.5 * 1.0 / spacing for spacing in spacing_mm]
    radii = [math.ceil(10 / 3 * sigma) for sigma in sigmas]

    def mean(values: np.ndarray) -> np.ndarray:
        return ndimage.gaussian_filter(values, sigmas, mode="nearest", radius=radii)

    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    luminance = (2 * mean(a) * mean(b) + 1e-4) / (mean(a) ** 2 + mean(b) ** 2 + 1e-4)
    expected = (luminance * (2 * covariance + 9e-4) / (variances + 9e-4)).mean()
    assert ssim(one, other, spacing_mm) == pytest.approx(expected, abs=1e-9)


def test_hog_is_scikit_images_in_2d() -> None:
    one, other = smooth(2, 40, 45), smooth(2, 40, 45, seed=1)
    expected = correlation(picture_of(one), picture_of(other), 8)
    assert hog(one, other, (1.0, 1.0)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("thick", [0, 1, 2])
def test_hog_of_a_volume_is_the_mean_over_its_thick_slices(thick: int) -> None:
    shape, spacing_mm = [30, 30, 30], [1.0, 1.0, 1.0]
    shape[thick], spacing_mm[thick] = 40, 4.0
    one, other = smooth(1, *shape), smooth(1, *shape, seed=1)
    a, b = (np.moveaxis(picture_of(map_), thick, 0) for map_ in (one, other))
    planes = np.linspace(0, 39, 16).round().astype(int)
    expected = np.mean([correlation(a[plane], b[plane], 8) for plane in planes])
    assert hog(one, other, tuple(spacing_mm)) == pytest.approx(expected, abs=1e-12)


def test_hog_takes_smaller_cells_of_a_small_picture() -> None:
    one, other = smooth(1, 13, 20), smooth(1, 13, 20, seed=1)
    expected = correlation(picture_of(one), picture_of(other), 4)
    assert hog(one, other, (1.0, 1.0)) == pytest.approx(expected, abs=1e-12)


def correlation(one: np.ndarray, other: np.ndarray, cell: int) -> float:
    options = {"pixels_per_cell": (cell, cell), "cells_per_block": (3, 3)}
    pair = [histograms(picture, orientations=9, **options) for picture in (one, other)]
    return float(np.corrcoef(*pair)[0, 1])


def test_a_black_slice_is_left_out() -> None:
    one, other = smooth(1, 30, 30, 3), smooth(1, 30, 30, 3, seed=1)
    one[..., 1] = 0
    planes = [slice(0, 1), slice(2, 3)]
    a, b = picture_of(one), picture_of(other)
    expected = np.mean([correlation(a[..., at][..., 0], b[..., at][..., 0], 8) for at in planes])
    assert hog(one, other, EVEN) == pytest.approx(expected, abs=1e-12)


def test_a_constant_map_has_no_correlation(ndim: int) -> None:
    flat, map_ = torch.ones(1, *SHAPES[ndim]), smooth(1, *SHAPES[ndim])
    assert math.isnan(rank_similarity(flat, map_, EVEN[:ndim]))
    assert math.isnan(hog(flat, map_, EVEN[:ndim]))
    assert math.isnan(cosine_similarity(0 * flat, map_, EVEN[:ndim]))
    assert not math.isnan(ssim(flat, map_, EVEN[:ndim]))


def test_hog_of_a_strip_is_undefined() -> None:
    assert math.isnan(hog(smooth(1, 2, 30), smooth(1, 2, 30, seed=1), (1.0, 1.0)))


def test_a_single_bright_voxel_sets_the_scale_of_the_picture() -> None:
    one, other = torch.zeros(2, 1, 30, 30)
    one[0, 3, 4], other[0] = 5.0, smooth(1, 30, 30)[0]
    assert math.isfinite(ssim(one, other, (1.0, 1.0)))
    assert ssim(one, other, (1.0, 1.0)) == ssim(100 * one, other, (1.0, 1.0))
