"""Counts of units and figures of filters, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from esegeta.features import Filters, UnitTotals, find_filters


def test_totals_add_up_over_cases() -> None:
    maps = torch.randn(4, 6, 5).relu()
    maps[2] = 0
    maps[3] = 7.0
    whole = UnitTotals.of(maps)
    halves = UnitTotals.of(maps[:, :2]) + UnitTotals.of(maps[:, 2:])
    flat = maps.flatten(1).double()
    for totals in (whole, halves):
        assert torch.allclose(totals.mean, flat.mean(1))
        assert torch.allclose(totals.variance, flat.var(1, correction=0), atol=1e-12)
        assert torch.allclose(totals.sparsity[:2], (flat[:2] == 0).double().mean(1))
        assert totals.dead.tolist() == [False, False, True, True]
        assert torch.equal(totals.high, flat.max(1).values)
        order = flat.var(1)[:2].argsort(descending=True).tolist()
        assert totals.by_variance(4) == order
        assert totals.by_variance(1) == order[:1]


def test_a_map_constant_up_to_rounding_counts_as_constant() -> None:
    """Blended over windows, what is 0.3377 everywhere is off by a rounding here and there."""
    maps = torch.full((2, 9), 0.3377)
    maps[0, 4] += 1e-7
    maps[1, 4] += 1e-5
    assert maps[0].unique().numel() == 2
    totals = UnitTotals.of(maps)
    assert totals.dead.tolist() == [True, False]
    assert totals.by_variance(2) == [1]


def test_concentration_goes_from_none_to_one() -> None:
    maps = torch.zeros(3, 10)
    maps[0] = 2.0
    maps[1, 3] = 5.0
    maps[2, :4] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    found = UnitTotals.of(maps).concentration
    assert found[:2].tolist() == pytest.approx([0, 1], abs=1e-9)
    root = np.sqrt(10)
    assert float(found[2]) == pytest.approx((root - 10 / np.sqrt(30)) / (root - 1))


def test_norms_singular_values_and_cosines_of_filters(ndim: int) -> None:
    conv = (nn.Conv2d if ndim == 2 else nn.Conv3d)(2, 3, 3)
    found = Filters.of("c", conv)
    flat = conv.weight.detach().flatten(1).numpy()
    assert np.allclose(found.norms, np.linalg.norm(flat, axis=1), rtol=1e-5)
    assert np.allclose(found.singular_values, np.linalg.svd(flat, compute_uv=False), rtol=1e-4)
    cosines = np.array(
        [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in flat] for a in flat]
    )
    assert np.allclose(found.similarity, cosines, atol=1e-5)
    one, other, cosine = found.most_alike() or (0, 0, 0.0)
    assert cosine == pytest.approx(np.max(cosines - 3 * np.eye(3)), abs=1e-5)
    assert cosines[one, other] == pytest.approx(cosine, abs=1e-5)
    slopes = [0.5, 2.0]
    assert torch.allclose(found.in_units(slopes).weights[:, 1], 2 * found.weights[:, 1])


def test_an_effective_rank_counts_directions() -> None:
    rows = torch.eye(4)[:, :, None, None].repeat(1, 1, 1, 1)
    assert Filters("c", rows).effective_rank == pytest.approx(4)
    assert Filters("c", torch.ones(4, 2, 1, 1)).effective_rank == pytest.approx(1, abs=1e-4)
    assert Filters("c", torch.zeros(2, 2, 1, 1)).effective_rank == 0


def test_transposed_filters_are_grouped_by_output_channel(ndim: int) -> None:
    conv = (nn.ConvTranspose2d if ndim == 2 else nn.ConvTranspose3d)(4, 6, 3, groups=2)
    found = Filters.of("c", conv).weights
    assert found.shape[:2] == (6, 2)
    assert torch.equal(found[4, 1], conv.weight.detach()[3, 1])  # group 2: inputs 2, 3; outputs 3-5


def test_filters_are_found_in_layers() -> None:
    network = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()), nn.Conv2d(2, 2, 1))
    assert [one.layer for one in find_filters(network, [])] == ["0.0", "1"]
    assert [one.layer for one in find_filters(network, ["0"])] == ["0.0"]
    assert find_filters(network, ["0.1"]) == []


def test_a_single_filter_has_no_most_similar_pair() -> None:
    assert Filters.of("c", nn.Conv2d(1, 1, 3)).most_alike() is None
