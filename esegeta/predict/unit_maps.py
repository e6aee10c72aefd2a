"""Units of several layers over a volume, blended onto each layer's grid in one pass of windows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.axes import Batch
from esegeta.errors import ModelError
from esegeta.model import held_still, run_up_to
from esegeta.predict.blend import WindowBlend
from esegeta.predict.layer_grid import LayerGrid, Positions
from esegeta.predict.predictor import Predictor
from esegeta.predict.windows import Windows


@dataclass(frozen=True)
class Units:
    """Neighbouring units of a layer: channels `first` up to, without, `stop`."""

    layer: str
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """What some units see of a volume.

    Args:
        units: which they are.
        grid: the layer's positions over the volume.
        data: float32, one map a unit, `K *G`.
    """

    units: Units
    grid: LayerGrid
    data: Positions


def blend_units(predictor: Predictor, x: Batch, wanted: Sequence[Units]) -> list[UnitMaps]:
    """Return the activations of units over a volume, blended as the logits are.

        a_u = sum_t w_t * a_u(x_t) / sum_t w_t

    Windows run once for all units, and only as far as the last of their layers.

    Args:
        predictor: the network over windows.
        x: one image, `1 C *S`.
        wanted: which units; several ranges may share a layer.

    Returns:
        The maps in the order of `wanted`, on the device of `x`.

    Raises:
        ModelError: an activation is NaN or Inf.
        LayerError: there is no such layer.
    """
    windows = predictor.windows(x)
    layers = {units.layer for units in wanted}
    grids: dict[str, LayerGrid] = {}
    blends: list[WindowBlend] = []
    with torch.no_grad(), held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, range(len(windows))):
            seen = read_layers(predictor, pieces.crops, windows, layers)
            if not blends:
                grids = {name: LayerGrid.of(windows, seen[name], name) for name in layers}
                blends = [WindowBlend(grids[units.layer], x) for units in wanted]
            for units, blend in zip(wanted, blends, strict=True):
                blend.add(pieces.windows, seen[units.layer][:, units.first : units.stop])
    found = []
    for units, blend in zip(wanted, blends, strict=True):
        total = blend.result()[0]
        if not bool(torch.stack(total.aminmax()).isfinite().all()):
            raise ModelError(
                f'layer "{units.layer}": activations are NaN or Inf',
                hint="use precision: fp32, and check the weights and the intensities",
            )
        found.append(UnitMaps(units, grids[units.layer], total))
    return found


def read_layers(
    predictor: Predictor, crops: Batch, windows: Windows, layers: Collection[str]
) -> dict[str, Tensor]:
    """Run windows as far as the last of some layers and return their outputs, `N K *layer`.

    Raises:
        LayerError: there is no such layer, or one does not run or returns no tensor.
    """
    seen = run_up_to(predictor.network, layers, lambda: predictor.run(crops, windows))
    if predictor.on_windows is not None:
        predictor.on_windows(len(crops))
    return seen
