"""Sums over positions: merged in any order, and the CKA of all Gram matrices."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from esegeta.similarity import (
    FIELDS,
    Moments,
    UnitLayout,
    biased_linear_cka,
    gram_cka,
    linear_cka,
    linear_grams,
    merged,
)

LAYOUT = UnitLayout((3, 5, 1))


def activations(rows: int = 60, *, offset: float = 0.0) -> Tensor:
    """Return three layers that have something to do with one another, far from zero or not."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn((rows, 9), generator=generator, dtype=torch.float64)
    data[:, 3:6] += 0.7 * data[:, :3]
    return data * torch.arange(1, 10) + offset


def test_sums_are_merged_in_any_order() -> None:
    data = activations(offset=50)
    parts = [Moments.of(part, LAYOUT) for part in data.split([1, 20, 9, 30])]
    whole = Moments.of(data, LAYOUT)
    for order in itertools.permutations(parts):
        for name, total in merged(order).tensors().items():
            torch.testing.assert_close(total, whole.tensors()[name], rtol=1e-11, atol=1e-9)


def test_sums_are_those_of_their_definition() -> None:
    data = activations(7)
    found = Moments.of(data, LAYOUT)
    rows = data - data.mean(dim=0)
    lengths = torch.stack([rows[:, own].square().sum(dim=1) for own in LAYOUT.columns], dim=1)
    expected = {
        "count": torch.tensor(7.0),
        "mean": data.mean(dim=0),
        "second": sum(torch.outer(row, row) for row in rows),
        "third": sum(torch.outer(row, own) for row, own in zip(rows, lengths, strict=True)),
        "fourth": sum(torch.outer(own, own) for own in lengths),
    }
    for name in FIELDS:
        value = torch.as_tensor(expected[name]).double()
        torch.testing.assert_close(found.tensors()[name].double(), value)


def test_multiplied_moments_equal_copies_of_positions() -> None:
    data = activations(12)
    twice = Moments.of(torch.cat([data, data]), LAYOUT)
    for name, total in Moments.of(data, LAYOUT).times(2).tensors().items():
        torch.testing.assert_close(total, twice.tensors()[name])


def test_streamed_cka_is_that_of_gram_matrices() -> None:
    """However far from zero activations lie, and in however many parts they come."""
    for offset in (0.0, 1e3):
        data = activations(offset=offset)
        streamed = linear_cka(merged(Moments.of(part, LAYOUT) for part in data.split(11)))
        grams = linear_grams(data, LAYOUT)
        assert (streamed - gram_cka(grams)).abs().max() < 1e-10
        centred = grams.flatten(1)
        hsic = centred @ centred.T
        scale = hsic.diagonal().sqrt()
        biased = biased_linear_cka(Moments.of(data, LAYOUT))
        assert (biased - hsic / torch.outer(scale, scale)).abs().max() < 1e-10


def test_moments_of_no_position_add_nothing() -> None:
    some, nothing = Moments.of(activations(9), LAYOUT), Moments.nothing(LAYOUT)
    for found in (some.plus(nothing), nothing.plus(some), merged([nothing, some, nothing])):
        for name, total in found.tensors().items():
            assert torch.equal(total, some.tensors()[name]), name
    assert float(merged([nothing, nothing]).count) == 0


def test_merging_no_moments_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to merge"):
        merged([])
