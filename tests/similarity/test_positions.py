"""Positions: each label its share, and activations between the positions of a layer."""

from __future__ import annotations

import pytest
import torch

from esegeta.predict import Units, blend_units
from esegeta.similarity import OUTSIDE, draw_positions, evenly, quotas, thin_out, values_at
from tests.builders import SHAPES, predictor, unet, volume


def test_quotas_are_equal_up_to_the_size_of_groups() -> None:
    assert quotas([100, 5, 40], 60) == [28, 5, 27]
    assert quotas([3, 2], 99) == [3, 2]
    assert quotas([5, 5, 5], 4) == [2, 1, 1]
    assert quotas([], 7) == []


def test_each_label_gets_equally_many_positions() -> None:
    strata = torch.tensor([0] * 500 + [1] * 20 + [OUTSIDE] * 300 + [2] * 90)
    generator = torch.Generator().manual_seed(0)
    found = draw_positions(strata, 120, generator)
    assert found.unique().equal(found), "ascending, none twice"
    counts = {name: int((strata[found] == name).sum()) for name in (0, 1, 2, OUTSIDE)}
    assert counts == {0: 50, 1: 20, 2: 50, OUTSIDE: 0}
    thin = thin_out(strata[found], 30)
    own = strata[found][thin]
    assert [int((own == name).sum()) for name in (0, 1, 2)] == [10, 10, 10]
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]


@pytest.mark.parametrize("ndim", [2, 3])
def test_activations_at_voxels_are_those_of_the_resampled_map(ndim: int) -> None:
    """A layer of stride 2 and one of stride 1, over several windows that overlap."""
    network = unet(ndim)
    model = predictor(network, (8,) * ndim)
    x = volume(SHAPES[ndim]).batch
    wanted = [Units("model.0", 0, 4), Units("model.2", 0, 2)]
    voxels = torch.cartesian_prod(*(torch.arange(n) for n in SHAPES[ndim])).double()
    for maps in blend_units(model, x, wanted):
        found = values_at(maps.data, maps.grid, voxels)
        expected = maps.grid.to_voxels(maps.data).flatten(1).T
        torch.testing.assert_close(found, expected)
        halves = values_at(maps.data, maps.grid, torch.full((1, ndim), 3.5).double())
        assert halves.shape == (1, len(maps.units)) and halves.isfinite().all()
