"""The outputs of layers: for some windows, beside the logits, or blended over the volume."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from esegeta.axes import Batch
from esegeta.errors import LayerError, ModelError
from esegeta.model import held_at, held_still, run_up_to, tap
from esegeta.predict.blend import WindowBlend
from esegeta.predict.layer_grid import LayerGrid, PositionValues
from esegeta.predict.predictor import Predictor
from esegeta.predict.windows import Windows

OUTPUT = "(logits)"
"""Stands for the network's logits among names of layers."""


def read_windows(
    predictor: Predictor,
    crops: Batch,
    windows: Windows,
    layers: Collection[str],
    *,
    held: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Run windows and return the outputs of some layers, and the logits as `OUTPUT`.

    Units that are switched off around this are seen as switched off, also in their own layer.
    A 2D network's outputs have two spatial axes, over volumes too.

    Args:
        predictor: predictor whose network runs.
        crops: crops of the preprocessed image.
        windows: indices of the windows that the crops belong to.
        layers: names of the layers.
        held: outputs of the same windows by layer, which the network goes on with in place of
            the layer's own; what is returned is the layer's own.

    Returns:
        `N K *layer` by name.

    Raises:
        LayerError: there is no such layer, one does not run, or one cannot be held.
    """
    with ExitStack() as stack:
        read = stack.enter_context(tap(predictor.network, *layers))
        for name, output in (held or {}).items():
            # After the taps: hooks run in their order, and a tap is to see what the layer did.
            stack.enter_context(held_at(predictor.network, name, output))
        logits = predictor.run(crops, windows)
    silent = sorted(set(layers) - set(read))
    if silent:
        raise LayerError(
            f"layers that do not run, or return no tensor: {', '.join(silent)}",
            hint="name other layers",
        )
    thin = windows.slice_axis
    # In full precision, also under autocast, as logits are.
    found = {name: read[name].to(crops.dtype) for name in layers}
    return {**found, OUTPUT: logits if thin is None else logits.squeeze(thin + 2)}


@dataclass(frozen=True)
class Units:
    """Neighbouring units of a layer: channels from `first` up to but not including `stop`."""

    layer: str
    first: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.first


VoxelBox = tuple[tuple[int, int], ...]
"""First voxel and end along each axis."""


@dataclass(frozen=True, eq=False)
class UnitMaps:
    """What some units see of a volume.

    Args:
        units: layer and channels of the units.
        grid: the layer's positions over the volume.
        data: float32, one map per unit, `K *G`.
        image: first voxel and end of the image in the volume along each axis; None where
            preprocessing has padded nothing.
    """

    units: Units
    grid: LayerGrid
    data: PositionValues
    image: VoxelBox | None = None


def blend_units(predictor: Predictor, x: Batch, wanted: Sequence[Units]) -> list[UnitMaps]:
    """Return the activations of units over a volume, blended as the logits are.

        a_u = sum_t w_t * a_u(x_t) / sum_t w_t

    Windows run once for all units, and only as far as the last of their layers.

    Args:
        predictor: the network over windows.
        x: one image, `1 C *S`.
        wanted: units to compute; several ranges may share a layer.

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
