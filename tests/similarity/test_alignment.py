"""CKA: what leaves it as it is, what independence gives, and HSIC_1 by its definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.similarity import (
    Moments,
    UnitLayout,
    biased_linear_cka,
    gram_hsic,
    linear_cka,
    linear_grams,
    paired_hsic,
    unbiased_hsic,
)


def noise(rows: int, columns: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((rows, columns), generator=generator, dtype=torch.float64)


def cka_of(*layers: Tensor) -> Tensor:
    return linear_cka(Moments.of(torch.cat(layers, dim=1), UnitLayout.of(layers)))


def hsic_of_quadruples(x: Tensor, y: Tensor) -> float:
    """Return HSIC_1 as the mean of its kernel over all ordered quadruples of positions."""
    k, m = (x @ x.T).numpy(), (y @ y.T).numpy()
    values = [
        k[a, b] * m[a, b] + k[a, b] * m[c, d] - 2 * k[a, b] * m[a, c]
        for a, b, c, d in itertools.permutations(range(len(x)), 4)
    ]
    return float(np.mean(values))


def test_hsic_is_the_mean_over_quadruples() -> None:
    x, y = noise(7, 3) + 4, noise(7, 2, seed=1) - 2
    y[:, 0] += x[:, 0]
    found = unbiased_hsic(Moments.of(torch.cat([x, y], dim=1), UnitLayout((3, 2))))
    for row, first in enumerate((x, y)):
        for column, second in enumerate((x, y)):
            assert found[row, column] == pytest.approx(hsic_of_quadruples(first, second), rel=1e-9)


def test_cka_is_invariant_to_rotation_and_scale() -> None:
    x, y = noise(50, 6), noise(50, 4, seed=1)
    y[:, :2] += x[:, :2]
    turned = -3.5 * x @ torch.linalg.qr(noise(6, 6, seed=2)).Q + 11
    stretched = x * torch.tensor([1, 1, 1, 1, 1, 30.0])
    found = cka_of(x, y, turned, stretched)
    assert found[0, 2] == pytest.approx(1, abs=1e-12)
    assert found[2, 1] == pytest.approx(float(found[0, 1]), abs=1e-12)
    assert found[0, 3] < 0.9, "an invertible map is another layer to CKA"


def test_only_biased_cka_is_high_for_independent_layers_of_many_units() -> None:
    """20 volumes of 1000 units: there is no telling them from any others by the biased one."""
    data = torch.cat([noise(20, 1000), noise(20, 1000, seed=1)], dim=1)
    moments = Moments.of(data, UnitLayout((1000, 1000)))
    assert biased_linear_cka(moments)[0, 1] > 0.97
    assert abs(float(linear_cka(moments)[0, 1])) < 0.05


def test_unbiased_cka_averages_to_zero_over_draws() -> None:
    draws = [cka_of(noise(12, 30, 2 * k), noise(12, 30, 2 * k + 1))[0, 1] for k in range(60)]
    mean, error = np.mean(draws), np.std(draws) / np.sqrt(len(draws))
    assert abs(mean) < 3 * error and error < 0.02


def test_a_layer_that_never_changes_has_no_value() -> None:
    x = noise(20, 3)
    found = cka_of(x, torch.full((20, 2), 0.1, dtype=torch.float64) + 1e-17 * x[:, :2])
    assert found[0, 0] == 1 and found[:, 1].isnan().all()


def test_too_few_positions_have_no_value() -> None:
    assert cka_of(noise(3, 2), noise(3, 2, 1)).isnan().all()


def test_hsic_of_positions_paired_anew() -> None:
    x, layout = noise(15, 7) + 3, UnitLayout((4, 3))
    left, right = torch.arange(12), torch.randperm(15, generator=torch.Generator().manual_seed(3))
    right = right[:12]
    found, cross = paired_hsic(x[left], x[right], layout)
    expected = gram_hsic(linear_grams(x[left], layout), linear_grams(x[right], layout))
    torch.testing.assert_close(found, expected)
    centred = (x[left] - x[left].mean(0)).T @ (x[right] - x[right].mean(0))
    torch.testing.assert_close(cross, centred)


def test_too_few_pairs_have_no_value_and_still_a_covariance() -> None:
    layout = UnitLayout((2, 1))
    left, right = noise(3, 3), noise(3, 3, seed=1)
    found, cross = paired_hsic(left, right, layout)
    assert found.shape == (2, 2) and found.isnan().all()
    torch.testing.assert_close(cross, (left - left.mean(0)).T @ (right - right.mean(0)))
    assert not paired_hsic(noise(4, 3), noise(4, 3, seed=1), layout)[0].isnan().any()
