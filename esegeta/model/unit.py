"""A network that ends at some units of one of its layers: how their maps become a prediction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esegeta.axes import Shape, shape_text
from esegeta.errors import LayerError
from esegeta.model.layers import find_layer, first_tensor

RESAMPLING = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UnitNetwork(nn.Module):
    """A network that stops at a layer and returns some of its units, `N K *W`.

    The units' maps are resampled linearly to the voxels of the window. What lies behind the layer
    is not run. Layers keep the names that they have in the whole network, and the modules of this
    one are those of the whole network: whoever holds still, hooks or lists them need not know.

    Args:
        network: the whole one, `N C *W` in; it is not changed.
        layer: name of the layer.
        channels: of the layer's output, from 0; they become the outputs in this order.
    """

    def __init__(self, network: nn.Module, layer: str, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the units' maps on the voxels of the window."""
        activation = self._activation(x)
        first, last = self.channels[0], self.channels[-1]
        if self.channels == tuple(range(first, last + 1)):
            units = activation[:, first : last + 1]
        else:
            units = activation[:, list(self.channels)]
        # In full precision, also under autocast: as logits are blended.
        units = units.to(x.dtype)
        size = tuple(x.shape[2:])
        if tuple(units.shape[2:]) == size:
            return units
        return F.interpolate(units, size=size, mode=RESAMPLING[len(size)], align_corners=False)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Yield the modules of the whole network, by the names that they have there."""
        yield from self.network.named_modules(memo, prefix, remove_duplicate)

    def get_submodule(self, target: str) -> nn.Module:
        """Return a module of the whole network by its name there."""
        return self.network.get_submodule(target)

    def _activation(self, x: Tensor) -> Tensor:
        layer = find_layer(self.network, self.layer)

        def stop(module: nn.Module, inputs: Any, output: Any) -> None:
            raise _Reached(first_tensor(output))

        # The latest hook runs last: it sees what hooks of methods have made of the output.
        handle = layer.register_forward_hook(stop)
        try:
            self.network(x)
        except _Reached as reached:
            return _require_spatial(reached.output, x, self.layer)
        finally:
            handle.remove()
        raise LayerError(f'layer "{self.layer}" does not run', hint="name another")


class _Reached(BaseException):
    """The layer has run; no error, and nothing that a network's own `except Exception` may keep."""

    def __init__(self, output: Tensor | None) -> None:
        super().__init__()
        self.output = output


def check_units(network: nn.Module, layer: str, channels: tuple[int, ...], window: Tensor) -> None:
    """Run a window through the whole network, and refuse a layer without these units.

    Args:
        network: the whole one; the caller holds it still.
        layer: name of the layer.
        channels: of the layer's output, from 0.
        window: `1 C *W` as the network takes it.

    Raises:
        LayerError: there is no such layer (the nearest names are given), it does not run or runs
            more than once, its output has no spatial axes, or fewer channels.
    """
    outputs: list[Tensor | None] = []
    handle = find_layer(network, layer).register_forward_hook(
        lambda module, inputs, output: outputs.append(first_tensor(output))
    )
    try:
        with torch.no_grad():
            network(window)
    finally:
        handle.remove()
    if len(outputs) != 1:
        times = "does not run" if not outputs else "runs more than once in a forward pass"
        raise LayerError(f'layer "{layer}" {times}', hint="name a layer that runs once")
    output = _require_spatial(outputs[0], window, layer)
    for channel in channels:
        if not 0 <= channel < output.shape[1]:
            raise LayerError(
                f'channel {channel} of layer "{layer}": its output is '
                f"{shape_text(tuple(output.shape[1:]))}",
                hint=f"name a channel from 0 to {output.shape[1] - 1}",
            )


def _require_spatial(output: Tensor | None, window: Tensor, layer: str) -> Tensor:
    if output is None or output.ndim != window.ndim or len(output) != len(window):
        shape: Shape | None = None if output is None else tuple(output.shape[1:])
        found = "no tensor" if shape is None else shape_text(shape) or "1"
        raise LayerError(
            f'layer "{layer}" has no spatial output ({found})',
            hint="`esegeta layers CONFIG` prints the shapes of all layers",
        )
    return output
