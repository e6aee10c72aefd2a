"""Imputation: a slow dense solve, ramps that are their own neighbours' mean, and noise as told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from esegeta.score.removal.replacement import impute, stencil

SPACINGS = {2: (1.0, 1.7), 3: (0.7, 1.9, 3.1)}
SHAPES = {2: (9, 8), 3: (5, 6, 4)}


def dense_solve(x: np.ndarray, removed: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Fill holes of one channel in, an equation a voxel, written out."""
    holes = [tuple(index) for index in np.argwhere(removed)]
    place = {index: number for number, index in enumerate(holes)}
    matrix, right = np.zeros((len(holes),) * 2), np.zeros(len(holes))
    for index, number in place.items():
        for step in itertools.product((-1, 0, 1), repeat=x.ndim):
            other = tuple(i + s for i, s in zip(index, step, strict=True))
            inside = all(0 <= i < n for i, n in zip(other, x.shape, strict=True))
            if not any(step) or not inside:
                continue
            weight = 1 / sum((s * mm) ** 2 for s, mm in zip(step, spacing_mm, strict=True))
            matrix[number, number] += weight
            if other in place:
                matrix[number, place[other]] -= weight
            else:
                right[number] += weight * x[other]
    filled = x.copy()
    filled[removed] = np.linalg.solve(matrix, right)
    return filled


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_equals_a_dense_solve(ndim: int, share: float) -> None:
    x = torch.randn(2, *SHAPES[ndim])
    removed = torch.rand(SHAPES[ndim]) < share
    found = impute(x, removed, SPACINGS[ndim], tolerance=1e-6)
    for channel, given in zip(found, x, strict=True):
        expected = dense_solve(given.double().numpy(), removed.numpy(), SPACINGS[ndim])
        assert np.allclose(channel, expected, atol=1e-4)
    assert torch.equal(found[:, ~removed], x[:, ~removed])


def test_imputation_improves_with_the_number_of_iterations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, removed = torch.randn(1, *SHAPES[2]), torch.rand(SHAPES[2]) < 0.6
    expected = dense_solve(x[0].double().numpy(), removed.numpy(), SPACINGS[2])
    gaps = []
    for most in (0, 2, 4, 300):
        monkeypatch.setattr("esegeta.score.removal.replacement.MAX_ITERATIONS", most)
        found = impute(x, removed, SPACINGS[2], tolerance=1e-6)
        gaps.append(float(np.abs(found[0].numpy() - expected).max()))
        assert torch.equal(found[:, ~removed], x[:, ~removed])
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 10 * gaps[2] > 100 * gaps[3]


def test_a_ramp_fills_its_own_holes(ndim: int) -> None:
    """A linear image is everywhere the mean of its neighbours, also over a wide hole."""
    lengths = (16,) * ndim
    axes = [torch.arange(n, dtype=torch.float32) for n in lengths]
    ramp = sum(
        (place + 1) * mm * grid
        for place, (mm, grid) in enumerate(
            zip(SPACINGS[ndim], torch.meshgrid(*axes, indexing="ij"), strict=True)
        )
    )
    assert isinstance(ramp, torch.Tensor)
    removed = torch.zeros(lengths, dtype=torch.bool)
    removed[tuple(slice(4, 12) for _ in lengths)] = True
    found = impute(ramp[None], removed, SPACINGS[ndim], tolerance=1e-6)
    assert torch.allclose(found[0], ramp, atol=1e-3)


def test_weights_are_those_of_the_paper_on_square_pixels() -> None:
    weights = stencil((2.0, 2.0))[0, 0]
    expected = torch.tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12
    assert torch.allclose(weights, expected)


def test_noise_of_the_given_size_is_added_to_removed_voxels_only() -> None:
    x = torch.randn(1, 40, 40)
    removed = torch.rand(40, 40) < 0.5
    plain = impute(x, removed, (1.0, 1.0))
    noisy = impute(x, removed, (1.0, 1.0), noise=0.3, seed=1)
    change = (noisy - plain)[0]
    assert torch.equal(change[~removed], torch.zeros_like(change[~removed]))
    assert float(change[removed].std()) == pytest.approx(0.3 * float(x.std()), rel=0.1)
    assert torch.equal(noisy, impute(x, removed, (1.0, 1.0), noise=0.3, seed=1))


def test_each_channel_is_its_mean_if_all_voxels_are_removed(ndim: int) -> None:
    x = torch.randn(2, *SHAPES[ndim])
    found = impute(x, torch.ones(SHAPES[ndim], dtype=torch.bool), SPACINGS[ndim])
    for channel, given in zip(found, x, strict=True):
        assert torch.allclose(channel, given.mean().expand_as(given))


def test_nothing_removed_is_the_image_itself() -> None:
    x = torch.randn(1, 5, 5)
    assert impute(x, torch.zeros(5, 5, dtype=torch.bool), (1.0, 1.0), noise=1.0) is x
