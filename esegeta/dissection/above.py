"""Where units' maps, resampled to voxels, lie above a threshold, without the maps at voxels.

Linear interpolation never leaves the range of its corners. So only cells between positions with a
corner above the threshold are looked at: of the largest half percent of a unit's positions that is
a few percent of the volume, and the memory and time are those of that part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from esegeta.dissection.where import places_above, places_where
from esegeta.predict import LayerGrid, PositionValues

VOXELS_AT_A_TIME = 1 << 21


@dataclass(frozen=True, eq=False)
class AxisCells:
    """The cells between neighbouring positions along one axis, and the voxels in each.

    Args:
        voxels: indices of the volume's voxels that lie between a position and the next one;
            -1 fills rows up to the fullest cell. Voxels before the first position and behind the
            last one belong to that position: edges are clamped.
        weights: weight of the next position at each of these voxels.
        interpolates: False where positions are voxels.
    """

    voxels: Int[Tensor, "G M"]
    weights: Float[Tensor, "G M"]
    interpolates: bool

    @classmethod
    @lru_cache(maxsize=32)
    def of(cls, grid: LayerGrid, axis: int, dtype: torch.dtype, device: torch.device) -> AxisCells:
        """Return the cells of a layer's grid along an axis; see `LayerGrid.to_voxels`."""
        stride, positions = grid.stride[axis], grid.shape[axis]
        length, places = grid.windows.shape[axis], grid.places(axis)
        lower = places.floor().long()
        counts = torch.bincount(lower, minlength=positions)
        rank = torch.arange(length) - (counts.cumsum(0) - counts)[lower]
        voxels = torch.full((positions, int(counts.max())), -1)
        voxels[lower, rank] = torch.arange(length)
        weights = torch.zeros(voxels.shape, dtype=dtype)
        weights[lower, rank] = (places - lower).to(dtype)
        return cls(voxels.to(device), weights.to(device), stride != 1)


@dataclass(frozen=True, eq=False)
class Above:
    """Voxels where units lie above their thresholds, one entry for each unit and voxel.

    Args:
        units: ascending, from 0.
        voxels: indices into the flattened volume.
    """

    units: Int[Tensor, " H"]
    voxels: Int[Tensor, " H"]

    def counts(self, num_units: int) -> Int[Tensor, " U"]:
        """Return the number of voxels of each unit."""
        return torch.bincount(self.units, minlength=num_units)

    def mask(self, unit: int, shape: tuple[int, ...]) -> Bool[Tensor, "*S"]:
        """Return the voxels of one unit as a mask."""
        mask = torch.zeros(shape, dtype=torch.bool, device=self.voxels.device)
        mask.view(-1)[self.voxels[self.units == unit]] = True
        return mask


def find_above(maps: PositionValues, grid: LayerGrid, thresholds: Float[Tensor, " K"]) -> Above:
    """Return where maps, resampled to the voxels of the volume, exceed their thresholds.

    Equal to `grid.to_voxels(maps) > thresholds`; a map that is constant anywhere stays so to the
    last bit, up to the border of the volume.

    Args:
        maps: one map per unit, on the layer's grid.
        grid: the layer's grid over the volume.
        thresholds: one per unit; the comparison is strict.
    """
    axes = tuple(AxisCells.of(grid, axis, maps.dtype, maps.device) for axis in range(maps.ndim - 1))
    if not any(cells.interpolates for cells in axes):
        units, voxels = places_above(grid.to_voxels(maps).flatten(1), thresholds)
        return Above(units, voxels)
    corners = maps
    for axis, cells in enumerate(axes, start=1):
        if cells.interpolates and maps.shape[axis] > 1:
            corners = _larger_neighbour(corners, axis)
    found = torch.stack(places_above(corners, thresholds), dim=1)
    per_cell = 1
    for cells in axes:
        per_cell *= cells.voxels.shape[1]
    step = max(VOXELS_AT_A_TIME // per_cell, 1)
    parts = [
        _above_in_cells(maps, axes, thresholds, found[first : first + step], grid.windows.shape)
        for first in range(0, max(len(found), 1), step)
    ]
    return Above(torch.cat([part.units for part in parts]), torch.cat([p.voxels for p in parts]))


def above_by_units(above: Above, num_units: int) -> Iterator[Tensor]:
    """Yield the voxels of each unit in turn."""
    first = 0
    for count in above.counts(num_units).tolist():
        yield above.voxels[first : first + count]
        first += count


def _larger_neighbour(data: Tensor, axis: int) -> Tensor:
    """Return the larger of each entry and the next one along an axis."""
    result = data.clone()
    inner = data.shape[axis] - 1
    torch.maximum(
        data.narrow(axis, 0, inner), data.narrow(axis, 1, inner), out=result.narrow(axis, 0, inner)
    )
    return result


def _above_in_cells(
    maps: Tensor,
    axes: tuple[AxisCells, ...],
    thresholds: Tensor,
    found: Tensor,
    shape: tuple[int, ...],
) -> Above:
    """Interpolate within some cells, `unit, *cell` each, axis by axis as `to_voxels` does."""
    units, places = found[:, 0], found[:, 1:].unbind(1)
    values = _corners(maps, axes, units, places)
    valid = torch.ones((1,) * (len(axes) + 1), dtype=torch.bool, device=maps.device)
    for axis, (cells, cell) in enumerate(zip(axes, places, strict=True), start=1):
        line = [len(units), *[1] * len(axes)]
        line[axis] = cells.voxels.shape[1]
        if cells.interpolates:
            weights = cells.weights[cell].reshape(line)
            lower, upper = values.narrow(axis, 0, 1), values.narrow(axis, 1, 1)
            values = torch.lerp(lower, upper, weights)
        valid = valid & (cells.voxels[cell] >= 0).reshape(line)
    column = thresholds[units].reshape(-1, *[1] * len(axes))
    row, *offsets = places_where((values > column) & valid)
    voxels = torch.zeros_like(row)
    for cells, cell, offset, length in zip(axes, places, offsets, shape, strict=True):
        voxels = voxels * length + cells.voxels[cell[row], offset]
    return Above(units[row], voxels)


def _corners(
    maps: Tensor, axes: tuple[AxisCells, ...], units: Tensor, places: tuple[Tensor, ...]
) -> Tensor:
    """Return the values at both ends of each cell along each axis, `n 2 2 2`."""
    index = units.reshape(-1, *[1] * len(axes))
    for axis, (cells, cell) in enumerate(zip(axes, places, strict=True), start=1):
        length = maps.shape[axis]
        ends = [cell, (cell + 1).clamp(max=length - 1)] if cells.interpolates else [cell]
        line = [len(units), *[1] * len(axes)]
        line[axis] = len(ends)
        index = index * length + torch.stack(ends, dim=1).reshape(line)
    return maps.reshape(-1)[index]
