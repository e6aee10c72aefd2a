"""Shifts, turns and blurs against numpy and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from esegeta.features import Blur, Draws, Transforms, best_shift, turned


def test_jitter_rolls_by_the_draws(ndim: int) -> None:
    x = torch.randn(2, 1, *(5, 6, 7)[:ndim])
    found = Transforms(jitter_voxels=2)(x, Draws.of(3), (1.0,) * ndim)
    shifts = Draws.of(3).integers(-2, 2, ndim)
    assert torch.equal(found, torch.roll(x, shifts, dims=tuple(range(2, 2 + ndim))))
    assert Transforms()(x, Draws.of(0), (1.0,) * ndim) is x


def test_the_best_shift_is_found_axis_by_axis(ndim: int) -> None:
    """A slope up to a known place; where all shifts are worth the same, none is made."""
    middle, away = torch.zeros(1, 1, *(9,) * ndim), [2, -1, 3][:ndim]
    middle[(0, 0, *[4] * ndim)] = 1.0
    grids = torch.meshgrid(*[torch.arange(9.0)] * ndim, indexing="ij")
    far = torch.stack([(grid - 4 - n).abs() for grid, n in zip(grids, away, strict=True)]).sum(0)
    assert best_shift(middle, 3, lambda y: -(y * far).sum()) == away
    assert best_shift(middle, 2, lambda y: -(y * far).sum()) == [min(n, 2) for n in away]
    assert best_shift(middle, 3, lambda y: y.new_zeros(())) == [0] * ndim


def test_a_quarter_turn_is_exact(ndim: int) -> None:
    x = torch.randn(1, 2, *(6, 6, 3)[:ndim])
    angles = [math.pi / 2, 0.0, 0.0][: 1 if ndim == 2 else 3]
    found = turned(x, angles, 1.0, (1.0,) * ndim)
    expected = [torch.rot90(x, k, dims=(2, 3)) for k in (1, 3)]
    assert min(float((found - one).abs().max()) for one in expected) < 1e-4


def test_turns_are_in_mm() -> None:
    """A quarter turn of voxels twice as long along one axis puts 4 mm on 4 mm."""
    x = torch.zeros(1, 1, 9, 5)
    x[0, 0, 4 + 2, 2] = 1  # 2 mm along the first axis
    found = turned(x, [math.pi / 2], 1.0, (1.0, 2.0))
    place = divmod(int(found.argmax()), 5)
    assert place in ((4, 1), (4, 3))  # one voxel of 2 mm from the middle


def test_scaling_enlarges_the_picture() -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[..., 3:6, 3:6] = 1
    assert float(turned(x, [0.0], 1.5, (1.0, 1.0)).sum()) == pytest.approx(9 * 2.25, rel=0.1)


def test_a_blur_is_a_gaussian(ndim: int) -> None:
    x, spacing = torch.randn(1, 1, *(9, 8, 7)[:ndim]), (1.0, 2.0, 0.5)[:ndim]
    found = Blur(1.0)(x, spacing)[0, 0].numpy()
    expected = x[0, 0].double().numpy()
    for axis, mm in enumerate(spacing):
        sigma = 1.0 / mm
        radius = min(math.ceil(3 * sigma), x.shape[axis + 2] - 1)
        expected = ndimage.gaussian_filter1d(
            expected, sigma, axis=axis, mode="nearest", radius=radius
        )
    assert np.allclose(found, expected, atol=1e-5)


def test_an_axis_of_length_one_is_not_blurred() -> None:
    x = torch.randn(1, 1, 9, 8)
    found = Blur(1.0)(x[..., None], (1.0, 2.0, 0.5))
    assert torch.equal(found[..., 0], Blur(1.0)(x, (1.0, 2.0)))
    assert torch.equal(Blur(0.0)(x, (1.0, 2.0)), x)
