"""Layers by name, their output shapes, and taps that read them during a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esegeta.axes import Shape
from esegeta.errors import LayerError, suggest


@dataclass(frozen=True)
class Layer:
    """One module of a network as it was seen in a forward pass.

    Args:
        name: as `get_submodule` takes it; empty for the network itself.
        kind: class of the module.
        output_shape: `B C *S` of its (first) output tensor, or None if it never ran.
        num_parameters: including its children.
        order: when its forward ended, counted from 0; -1 if it never ran.
    """

    name: str
    kind: str
    output_shape: Shape | None
    num_parameters: int
    order: int

    @property
    def is_spatial(self) -> bool:
        """Whether the output has channels and spatial axes."""
        return self.output_shape is not None and len(self.output_shape) >= 4


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return the module of that name.

    Raises:
        LayerError: there is no such layer; the nearest names are given.
    """
    try:
        layer = network.get_submodule(name)
    except AttributeError:
        layer = network
    if layer is not network:
        return layer
    names = [known for known, _ in network.named_modules() if known]
    nearest = suggest(name, names)
    stop = "" if nearest.endswith("?") else ";"
    raise LayerError(
        f'layer "{name}" is not in the network',
        hint=f"{nearest}{stop} `esegeta layers CONFIG` prints them all",
    )


def list_layers(network: nn.Module, run: Callable[[], object]) -> list[Layer]:
    """Run the network once and return every module with its output shape, in tree order."""
    seen: dict[str, tuple[int, Shape]] = {}
    counter = iter(range(10**9))

    def note(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            tensor = first_tensor(output)
            if tensor is not None:
                seen[name] = (next(counter), tuple(tensor.shape))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return [
        Layer(
            name=name,
            kind=type(module).__name__,
            output_shape=seen[name][1] if name in seen else None,
            num_parameters=sum(parameter.numel() for parameter in module.parameters()),
            order=seen[name][0] if name in seen else -1,
        )
        for name, module in network.named_modules()
    ]


def deepest_layer(layers: list[Layer]) -> Layer:
    """Return the layer with the coarsest grid: a U-Net's bottleneck.

    Layers that pool a whole window into one position, as in squeeze-and-excitation, do not count.
    Of the modules without children on the coarsest grid it is the last to run, or the largest
    block around it that hands on the same shape: a residual unit, but not the skip connection
    that concatenates its output with another.

    Raises:
        LayerError: no layer but the network itself has a spatial output.
    """
    spatial = {layer.name: layer for layer in layers if layer.name and layer.is_spatial}
    parents = {name.rpartition(".")[0] for name in spatial}
    leaves = [layer for name, layer in spatial.items() if name not in parents]
    if not leaves:
        raise LayerError("the network has no layer with a spatial output", hint="name a layer")
    maps = [layer for layer in leaves if _num_voxels(layer) > 1]
    found = min(maps or leaves, key=lambda layer: (_num_voxels(layer), -layer.order))
    shape = found.output_shape
    above = found.name.rpartition(".")[0]
    while above in spatial and spatial[above].output_shape == shape:
        found, above = spatial[above], above.rpartition(".")[0]
    return found


@contextmanager
def tap(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Read the output of a layer: the list holds that of the latest forward pass only.

    Recomputing a window fires the hook again, so the tap replaces and never appends. The rest of
    the network goes on with a copy, so that an in-place activation behind the layer does not
    write over what was read. The hook is removed on leaving, also after an exception.
    """
    latest: list[Tensor] = []

    def hook(module: nn.Module, inputs: object, output: object) -> object:
        tensor = first_tensor(output)
        latest[:] = [] if tensor is None else [tensor]
        return output.clone() if isinstance(output, Tensor) else None

    handle = layer.register_forward_hook(hook)
    try:
        yield latest
    finally:
        handle.remove()


def first_tensor(output: object) -> Tensor | None:
    """Return the first tensor of a network's output: itself, or of a list, tuple or dict."""
    if isinstance(output, Tensor):
        return output
    items = list(output.values()) if isinstance(output, dict) else output
    if isinstance(items, (list, tuple)) and items:
        return first_tensor(items[0])
    return None


def _num_voxels(layer: Layer) -> int:
    assert layer.output_shape is not None
    count = 1
    for length in layer.output_shape[2:]:
        count *= length
    return count
