"""What layers see of regions: activations over a volume, averaged over regions or read at voxels.

Layers are blended over windows and resampled to voxels as everywhere (`blend_units`, `LayerGrid`).
Only some units' maps are held at a time, and what is returned is as small as the regions are few,
so that memory does not grow with the number of cases.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.axes import Batch, Image
from esegeta.model import UnitLayer
from esegeta.predict.layer_grid import LayerGrid
from esegeta.predict.layer_outputs import UnitMaps, Units, blend_units
from esegeta.predict.predictor import Predictor
from esegeta.predict.regions import Averaging

BYTES_OF_FLOAT, BYTES_OF_DOUBLE = 4, 8
MB = 2**20


@dataclass(frozen=True, eq=False)
class LayerRegions:
    """What a layer sees of a volume.

    Args:
        means: activation of each unit, averaged over the voxels of each region, float64; NaN where
            a region is empty.
        samples: activations at the voxels that were asked for, float32.
    """

    means: Float[Tensor, "R K"]
    samples: Float[Tensor, "N K"]


def pool_regions(
    predictor: Predictor,
    x: Batch,
    layers: Sequence[UnitLayer],
    regions: Averaging,
    *,
    voxels: Int[Tensor, " N"] | None = None,
    room_mb: float = 512.0,
) -> Mapping[str, LayerRegions]:
    """Return the mean activations of layers over regions, and activations at some voxels.

        m_ru = mean over the voxels i of region r of a_u(i)

    a_u is unit u blended over all windows as logits are, and interpolated linearly to voxels.

    Args:
        predictor: the network over windows.
        x: one image, `1 C *S`.
        layers: whose units; windows run only as far as the last of them.
        regions: `Regions` or `VoxelLists` of the volume as the network sees it, on the device of
            `x`.
        voxels: where single activations are read, as indices into the flattened volume.
        room_mb: memory in MB that maps of units may take up; windows run again for those beyond it.

    Returns:
        By the name of the layer, on the device of `x`.

    Raises:
        ModelError: an activation is NaN or Inf.
    """
    wanted = x.new_zeros(0, dtype=torch.int64) if voxels is None else voxels
    means: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    samples: dict[str, list[Tensor]] = {layer.name: [] for layer in layers}
    for load in _loads(predictor, x, layers, room_mb):
        for maps in blend_units(predictor, x, load):
            for some in _on_voxels(maps, room_mb):
                means[maps.units.layer].append(regions.means(some))
                samples[maps.units.layer].append(some.flatten(1)[:, wanted])
    return {
        name: LayerRegions(torch.cat(found, dim=1), torch.cat(samples[name]).T)
        for name, found in means.items()
    }


def _loads(
    predictor: Predictor, x: Batch, layers: Sequence[UnitLayer], room_mb: float
) -> Iterator[list[Units]]:
    """Yield which units go through the network together: as many as there is room for."""
    windows = predictor.windows(x)
    room = room_mb * MB / BYTES_OF_FLOAT
    load: list[Units] = []
    left = room
    for layer in layers:
        grid = LayerGrid.of(windows, x.new_zeros((1, 1, *layer.patch)), layer.name)
        first = 0
        while first < layer.num_units:
            fitting = int(left / grid.num_positions)
            if fitting < 1 and load:
                yield load
                load, left = [], room
                continue
            stop = min(first + max(fitting, 1), layer.num_units)
            load.append(Units(layer.name, first, stop))
            left -= (stop - first) * grid.num_positions
            first = stop
    yield load


def _on_voxels(maps: UnitMaps, room_mb: float) -> Iterator[Image]:
    """Yield the maps on the voxels of the volume, some units at a time."""
    size = math.prod(maps.grid.windows.shape)
    step = max(int(room_mb * MB / (BYTES_OF_DOUBLE * size)), 1)  # they are summed in float64
    for some in torch.split(maps.data, step):
        yield maps.grid.to_voxels(some)
