"""Where activations exceed a level: what torch finds, in its order."""

from __future__ import annotations

import pytest
import torch

from esegeta.dissection.where import (
    flat_places_above,
    largest_first,
    largest_of_rows,
    peaks,
    places_above,
    places_where,
)


@pytest.mark.parametrize("shape", [(40,), (3, 17), (2, 5, 4, 3)])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_places_equal_torch_nonzero_in_order(shape: tuple[int, ...], share: float) -> None:
    mask = torch.rand(shape) < share
    found = places_where(mask)
    assert len(found) == len(shape)
    for own, expected in zip(found, mask.nonzero().unbind(1), strict=True):
        assert own.dtype == torch.int64
        assert torch.equal(own, expected)


def test_a_value_equal_to_its_level_is_not_above_it() -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    units, places = places_above(values, torch.tensor([1.0, 2.0]))
    assert units.tolist() == [0, 1]
    assert places.tolist() == [2, 0]


def test_a_mask_that_is_not_contiguous_is_read_in_the_order_of_its_axes() -> None:
    mask = (torch.rand(6, 5) < 0.3).T
    assert torch.equal(torch.stack(places_where(mask), dim=1), mask.nonzero())


def test_the_first_of_equal_peaks_is_found() -> None:
    found, places = peaks(torch.tensor([[1.0, 4.0, 4.0], [-2.0, -3.0, -2.0]]))
    assert found.tolist() == [4.0, -2.0]
    assert places.tolist() == [1, 0]


@pytest.mark.parametrize("count", [1, 7, 40])
def test_the_largest_of_rows_equal_a_stable_sort(count: int) -> None:
    """Also for negative, infinite and equal values; both zeros are equal."""
    values = torch.randn(5, 40).mul(2).round()
    values[0, :3] = torch.tensor([torch.inf, -torch.inf, -0.0])
    expected = values.argsort(dim=1, descending=True, stable=True)[:, :count]
    assert torch.equal(largest_of_rows(values, count), expected)


def test_places_are_sorted_by_decreasing_value() -> None:
    values = torch.tensor([0.5, 3.0, -1.0, 3.0, 2.0])
    places = flat_places_above(values, 0.5)
    assert places.tolist() == [1, 3, 4]
    assert largest_first(values, places).tolist() == [1, 3, 4]
    assert largest_first(values, torch.tensor([2, 4, 3])).tolist() == [3, 4, 2]
