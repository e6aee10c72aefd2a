"""Voxels above thresholds: as the maps at voxels would have it, and as NumPy has it by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from esegeta.dissection.above import above_by_units, find_above
from esegeta.predict import LayerGrid, WindowPlan

GRIDS = {
    "2d": (WindowPlan((8, 6)), (13, 11), (4, 3)),
    "2d fractions of a voxel": (WindowPlan((8, 6)), (13, 11), (3, 4)),
    "2d finer than voxels": (WindowPlan((4, 6)), (9, 11), (8, 6)),
    "2d padded": (WindowPlan((8, 6)), (5, 3), (4, 2)),
    "3d": (WindowPlan((8, 6, 4)), (9, 11, 7), (4, 3, 1)),
    "3d at voxels": (WindowPlan((8, 6, 4)), (9, 11, 7), (8, 6, 4)),
    "3d padded": (WindowPlan((8, 6, 4)), (5, 11, 3), (2, 3, 4)),
    "slices": (WindowPlan((8, 6), slice_axis=0), (3, 9, 11), (4, 3)),
    "padded slices": (WindowPlan((8, 6), slice_axis=1), (5, 3, 11), (4, 2)),
}


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> LayerGrid:
    plan, shape, layer = GRIDS[request.param]
    windows = plan.lay(shape)
    return LayerGrid.of(windows, torch.zeros(1, 1, *layer))


def slow(maps: np.ndarray, grid: LayerGrid) -> np.ndarray:
    """Interpolate voxel by voxel from the centres of positions, edges clamped, in float64."""
    out = np.zeros((len(maps), *grid.windows.shape))
    for voxel in np.ndindex(*grid.windows.shape):
        ends = []
        for axis, index in enumerate(voxel):
            low, stride = grid.windows.padding[axis][0], grid.stride[axis]
            centres = [stride * (p + 0.5) - 0.5 - low for p in range(grid.shape[axis])]
            place = np.interp(index, centres, range(len(centres)))
            first = int(min(np.floor(place), len(centres) - 1))
            second = min(first + 1, len(centres) - 1)
            ends.append([(first, 1 - (place - first)), (second, place - first)])
        for corner in itertools.product(*ends):
            weight = np.prod([part for _, part in corner])
            out[(slice(None), *voxel)] += weight * maps[(slice(None), *(p for p, _ in corner))]
    return out


def masks(maps: Tensor, grid: LayerGrid, thresholds: Tensor) -> Tensor:
    found = find_above(maps, grid, thresholds)
    return torch.stack([found.mask(unit, grid.windows.shape) for unit in range(len(maps))])


@pytest.mark.parametrize("level", [-5.0, -0.4, 0.6, 1.9, 9.0])
def test_equals_the_maps_at_voxels(grid: LayerGrid, level: float) -> None:
    maps = torch.randn(3, *grid.shape)
    thresholds = level + torch.tensor([0.0, 0.1, -0.1])
    expected = grid.to_voxels(maps) > thresholds.reshape(3, *[1] * (maps.ndim - 1))
    assert torch.equal(masks(maps, grid, thresholds), expected)


def test_equals_a_slow_rewrite(grid: LayerGrid) -> None:
    maps = torch.randn(2, *grid.shape)
    expected = slow(maps.numpy().astype(np.float64), grid)
    threshold = float(np.quantile(expected, 0.8)) + 1e-4
    assert np.abs(expected - threshold).min() > 1e-6
    found = masks(maps, grid, torch.full((2,), threshold))
    assert 0 < int(found.sum()) < found.numel()
    np.testing.assert_array_equal(found.numpy(), expected > threshold)


def test_a_constant_map_stays_constant_to_the_border(grid: LayerGrid) -> None:
    """To the last bit: at its own value nothing is above, one step below everything is."""
    values = torch.tensor([0.1, -3.7, 1e-20])
    maps = values.reshape(3, *[1] * len(grid.shape)).expand(3, *grid.shape).contiguous()
    assert not masks(maps, grid, values).any()
    assert masks(maps, grid, torch.nextafter(values, torch.tensor(-torch.inf))).all()


def test_processing_in_portions_changes_nothing(
    grid: LayerGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps, thresholds = torch.randn(3, *grid.shape), torch.tensor([0.5, 0.0, 1.0])
    whole = find_above(maps, grid, thresholds)
    monkeypatch.setattr("esegeta.dissection.above.VOXELS_AT_A_TIME", 7)
    parts = find_above(maps, grid, thresholds)
    assert torch.equal(parts.units, whole.units)
    assert torch.equal(parts.voxels, whole.voxels)


def test_the_result_splits_into_units(grid: LayerGrid) -> None:
    maps, thresholds = torch.randn(4, *grid.shape), torch.tensor([0.5, 9.0, -9.0, 1.0])
    found = find_above(maps, grid, thresholds)
    pieces = list(above_by_units(found, 4))
    assert len(pieces) == 4
    assert len(pieces[1]) == 0
    assert len(pieces[2]) == np.prod(grid.windows.shape)
    for unit, voxels in enumerate(pieces):
        expected = found.mask(unit, grid.windows.shape).flatten().nonzero()[:, 0]
        assert torch.equal(voxels.sort().values, expected)
