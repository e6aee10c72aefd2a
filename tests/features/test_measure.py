"""Honest numbers, each by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from esegeta.features import (
    RealPatches,
    distances_between,
    frequencies,
    high_frequency_share,
    largest_apart,
    measure,
    octaves,
    stability,
)

SPACING = (1.0, 2.0)
PLACES = [("a", (0, 0)), ("a", (2, 2)), ("b", (0, 0)), ("b", (9, 9))]


def test_distances_are_root_mean_squares() -> None:
    one, other = torch.randn(2, 1, 4, 3) + 100, torch.randn(3, 1, 4, 3) + 100
    expected = [[float((a - b).square().mean().sqrt()) for b in other] for a in one]
    assert np.allclose(distances_between(one, other), expected, atol=1e-5)


def test_a_picture_is_compared_with_real_patches() -> None:
    data = torch.randn(4, 1, 6, 4)
    real = RealPatches.of(data, SPACING, PLACES, (6, 4))
    picture = data[2:3] + 0.1
    found = measure(picture, 3.0, real, torch.tensor([1.0, 2.0, 4.0, 2.0]))
    assert found.percentile == 75
    assert found.of_largest == pytest.approx(0.75)
    assert found.nearest == 2
    assert found.distance == pytest.approx(0.1 / float(data.std()), rel=1e-3)
    rough = [float(one.diff(dim=1).abs().mean() + one.diff(dim=2).abs().mean() / 2) for one in data]
    assert found.total_variation == pytest.approx(rough[2] / float(np.sort(rough)[1]), rel=1e-3)
    # 0 and 1 share voxels, as 2 and 3 do not: the nearest other of each is one that is apart.
    apart = distances_between(data, data) / real.std
    assert float(real.apart[0]) == pytest.approx(float(apart[0, 2:].min()), rel=1e-4)
    assert measure(picture, 3.0, real, -torch.ones(4)).of_largest is None


def test_frequencies_above_half_of_nyquist_count_as_high() -> None:
    """f = 1/8 and 3/8 cycles per voxel on voxels of 1 mm, on either side of 1/4."""
    places = torch.arange(64.0)
    for f, low, high in ((1 / 8, 0.0, 0.01), (3 / 8, 0.99, 1.0)):
        wave = torch.cos(2 * torch.pi * f * places).expand(1, 1, 64, 64)
        assert low <= float(high_frequency_share(wave, (1.0, 1.0))[0]) <= high + 1e-6
    assert float(high_frequency_share(torch.ones(1, 1, 5, 5), (1.0, 1.0))[0]) == 0


@pytest.mark.parametrize("thick", [1, 2])
def test_a_slab_of_equal_slices_has_the_frequencies_of_its_slice(thick: int) -> None:
    """Slices that are the same have no wave across, and none is made by the window."""
    flat = torch.randn(2, 1, 9, 8)
    slab = flat[..., None].expand(-1, -1, -1, -1, thick)
    found = high_frequency_share(slab, (1.0, 1.5, 1.0))
    assert torch.allclose(found, high_frequency_share(flat, (1.0, 1.5)), rtol=1e-6)


def test_frequencies_are_in_cycles_per_mm() -> None:
    found = frequencies((4, 4), (1.0, 2.0))
    assert float(found[1, 0]) == 0.25
    assert float(found[0, 1]) == 0.125
    assert float(found[1, 1]) == pytest.approx(np.hypot(0.25, 0.125))


def test_the_largest_patches_do_not_overlap() -> None:
    values = torch.tensor([4.0, 3.0, 2.0, 1.0])
    assert largest_apart(values, PLACES, (6, 6), 3) == [0, 2, 3]
    assert largest_apart(values, PLACES, (3, 3), 3) == [0, 1, 2]


def test_stability_is_the_correlation_of_seeds_without_the_mean() -> None:
    mean, one, other = torch.randn(3, 1, 1, 5, 4)
    found = stability([mean + one, mean + other, mean + one], mean)
    between = float(np.corrcoef(one.flatten(), other.flatten())[0, 1])
    assert found == pytest.approx((1 + 2 * between) / 3, abs=1e-5)
    assert stability([one], mean) is None


def test_octaves_grow_to_the_image() -> None:
    assert octaves((40, 20), (16, 16), 3, 2.0) == [(16, 16), (20, 16), (40, 20)]
    assert octaves((8, 8), (16, 16), 3, 2.0) == [(8, 8)]
