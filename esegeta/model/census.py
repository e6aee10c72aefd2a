"""Which layers of a network have units that can be read, and how many each has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esegeta.axes import Shape, shape_text
from esegeta.errors import LayerError
from esegeta.model.layers import find_layer, first_tensor

ALL_LAYERS = "all"


@dataclass(frozen=True)
class UnitLayer:
    """A layer with a map for each of its units.

    Args:
        name: as `get_submodule` takes it.
        num_units: channels of its output.
        patch: lengths of its spatial axes for one window.
    """

    name: str
    num_units: int
    patch: Shape


def find_unit_layers(
    network: nn.Module, names: Sequence[str] | str, window: Tensor
) -> tuple[UnitLayer, ...]:
    """Run a window through the network and return the layers of these names.

    Args:
        network: the whole one; the caller holds it still.
        names: of layers, or `all`: every layer with a map of more than one position, in the order
            in which they run; where a block hands on the output of a layer inside it unchanged,
            the block's name stands for both.
        window: `1 C *W` as the network takes it.

    Raises:
        LayerError: there is no such layer (the nearest names are given), it has no map, or it
            runs more than once in a forward pass.
    """
    runs: Counter[str] = Counter()
    outputs: dict[str, Tensor | None] = {}
    versions: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            runs[name] += 1
            outputs.pop(name, None)  # so that the order is that of the latest run
            outputs[name] = tensor = first_tensor(output)
            versions[name] = 0 if tensor is None else tensor._version

        return module.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            network(window)
    finally:
        for handle in handles:
            handle.remove()
    if names == ALL_LAYERS:
        return _all_layers(outputs, versions, runs, window)
    listed = [names] if isinstance(names, str) else names
    return tuple(_named_layer(network, name, outputs, runs, window) for name in listed)


def _all_layers(
    outputs: dict[str, Tensor | None],
    versions: dict[str, int],
    runs: Counter[str],
    window: Tensor,
) -> tuple[UnitLayer, ...]:
    outermost: dict[tuple[int, int], tuple[str, Tensor]] = {}
    for name, output in outputs.items():
        if output is None or runs[name] != 1 or not _is_map(output, window):
            continue
        if output[0, 0].numel() == 1:  # a whole window pooled into one number marks nothing
            continue
        # An activation in place returns the tensor that it was given, with other values.
        made = (id(output), versions[name])
        maker, _ = outermost.setdefault(made, (name, output))
        if maker.startswith(f"{name}."):
            outermost[made] = (name, output)
    if not outermost:
        raise LayerError("the network has no layer with a spatial output", hint="name a layer")
    return tuple(_unit_layer(name, output) for name, output in outermost.values())


def _named_layer(
    network: nn.Module,
    name: str,
    outputs: dict[str, Tensor | None],
    runs: Counter[str],
    window: Tensor,
) -> UnitLayer:
    find_layer(network, name)
    if runs[name] != 1:
        times = "does not run" if not runs[name] else "runs more than once in a forward pass"
        raise LayerError(f'layer "{name}" {times}', hint="name a layer that runs once")
    output = outputs[name]
    if output is None or not _is_map(output, window):
        found = "no tensor" if output is None else shape_text(tuple(output.shape[1:])) or "1"
        raise LayerError(
            f'layer "{name}" has no spatial output ({found})',
            hint="`esegeta layers CONFIG` prints the shapes of all layers",
        )
    return _unit_layer(name, output)


def _is_map(output: Tensor, window: Tensor) -> bool:
    return output.ndim == window.ndim and len(output) == len(window)


def _unit_layer(name: str, output: Tensor) -> UnitLayer:
    return UnitLayer(name, int(output.shape[1]), tuple(output.shape[2:]))
