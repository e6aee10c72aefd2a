"""What other devices than the CPU compute in ways of their own is what the CPU computes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from esegeta.dissection.fields import Fields
from esegeta.dissection.quantile import LargestValues
from esegeta.dissection.surrogates import numbered
from esegeta.dissection.where import (
    flat_places_above,
    largest_of_rows,
    peaks,
    places_above,
    places_where,
)
from tests.dissection.bodies import ellipsoid
from tests.second_device import DEVICE

VALUES = torch.tensor([[0.0, 3.0, -1.0, 3.0, 2.0], [-0.0, 0.0, 5.0, -torch.inf, 5.0]])
LEVELS = torch.tensor([1.0, 0.0])

LOOKS = {
    "where a mask holds": lambda values, _: places_where(values > 0),
    "above levels": places_above,
    "above one level": lambda values, _: (flat_places_above(values[0], 0.5),),
    "largest of rows": lambda values, _: (largest_of_rows(values, 3),),
    "peaks": lambda values, _: peaks(values),
}


def assert_there(found: Tensor, expected: Tensor) -> None:
    assert found.device == DEVICE
    assert found.dtype == expected.dtype
    assert torch.equal(found.cpu(), expected)


@pytest.mark.parametrize("look", LOOKS)
def test_activations_are_found_where_the_cpu_finds_them(look: str) -> None:
    expected = LOOKS[look](VALUES, LEVELS)
    found = LOOKS[look](VALUES.to(DEVICE), LEVELS.to(DEVICE))
    for own, other in zip(found, expected, strict=True):
        assert_there(own, other)


@pytest.mark.parametrize("rank", [1, 7, 60])
def test_the_largest_values_of_units_are_those_of_the_cpu(rank: int) -> None:
    """More than the rank at first; then those that exceed what is kept, more of some units."""
    values = torch.stack([torch.randn(300).sort().values, torch.randn(300), torch.zeros(300)])
    finder = LargestValues(rank)
    for portion in values.to(DEVICE).split(90, dim=1):
        finder.merge(finder.take(portion))
    assert_there(finder.thresholds(), values.sort(dim=1).values[:, -rank])


@pytest.mark.parametrize("most", [6, 400])
@pytest.mark.parametrize("sample", [1 << 13, 1 << 5])
def test_draws_from_fields_are_those_of_the_cpu(
    most: int, sample: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few voxels that are ranked and moved, and of many that are sorted."""
    monkeypatch.setattr("esegeta.dissection.fields.SAMPLE", sample)
    body = ellipsoid((30, 44))
    expected, found = (
        torch.cat(list(Fields((2.0, 3.0), numbered(body.to(device)), 4).draws(7, most)))
        for device in (torch.device("cpu"), DEVICE)
    )
    assert_there(found, expected)
