"""Gram matrices: the Gaussian kernel, and cases that are drawn more than once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform

from esegeta.similarity import CaseGrams, UnitLayout, gram_cka, linear_grams, rbf_grams
from tests.similarity.test_alignment import hsic_of_quadruples, noise

LAYOUT = UnitLayout((3, 2))


def test_the_gaussian_kernel_is_as_wide_as_the_median_distance() -> None:
    data = noise(21, 5) + 1e4
    for own, found in zip(LAYOUT.columns, rbf_grams(data, LAYOUT), strict=True):
        distances = pdist(data[:, own].numpy())
        median = np.median(distances)
        expected = np.exp(-(squareform(distances) ** 2) / (2 * median**2))
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_cka_of_gram_matrices_is_that_over_quadruples() -> None:
    data = noise(7, 5)
    data[:, 3] += data[:, 0]
    grams = rbf_grams(data, LAYOUT)
    roots = [torch.linalg.cholesky(gram) for gram in grams]
    hsic = [[hsic_of_quadruples(a, b) for a in roots] for b in roots]
    expected = hsic[0][1] / np.sqrt(hsic[0][0] * hsic[1][1])
    assert gram_cka(grams)[0, 1] == pytest.approx(expected, rel=1e-9)


def test_kernel_cka_is_invariant_to_rotation_and_scale() -> None:
    x = noise(25, 3)
    turned = 4 * x @ torch.linalg.qr(noise(3, 3, seed=2)).Q
    found = gram_cka(rbf_grams(torch.cat([x, turned], dim=1), UnitLayout((3, 3))))
    assert found[0, 1] == pytest.approx(1, abs=1e-10)


def test_the_kernel_width_of_mostly_equal_positions_is_undefined() -> None:
    data = torch.zeros((20, 5), dtype=torch.float64)
    data[:4] = noise(4, 5)
    assert gram_cka(rbf_grams(data, LAYOUT)).isnan().all()


@pytest.mark.parametrize("kernel", [linear_grams, rbf_grams], ids=lambda one: one.__name__)
def test_sums_of_drawn_cases_equal_copies_of_their_positions(kernel: object) -> None:
    data, case = noise(30, 5), torch.arange(30) // 10
    grams = kernel(data, LAYOUT)  # type: ignore[operator]
    sums = CaseGrams.of(grams, case, 3)
    for copies in ([1, 1, 1], [2, 0, 1], [0, 3, 0]):
        rows = torch.cat([torch.arange(30)[case == k].repeat(n) for k, n in enumerate(copies)])
        expected = gram_cka(grams[:, rows][:, :, rows])
        found = sums.cka(torch.tensor(copies, dtype=torch.float64))
        torch.testing.assert_close(found, expected)


def test_fewer_than_four_drawn_positions_have_no_value() -> None:
    """Of three cases with two positions each: one of them, drawn once or twice."""
    sums = CaseGrams.of(linear_grams(noise(6, 5), LAYOUT), torch.arange(6) // 2, 3)
    few, enough = (torch.tensor([0.0, n, 0.0], dtype=torch.float64) for n in (1, 2))
    found = sums.cka(few)
    assert found.shape == (2, 2) and found.isnan().all()
    assert not sums.cka(enough)[0, 0].isnan()
