"""What a network is made of, learned from one forward pass: its layers, and those with units."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from esegeta.axes import Shape, shape_text
from esegeta.errors import LayerError
from esegeta.model.capability import capability_of
from esegeta.model.hooks import on_input, on_output
from esegeta.model.layers import (
    LayerRun,
    describe_output,
    find_layer,
    holds_units_last,
    holds_weight,
)
from esegeta.model.output import FIRST, OutputChoice

ALL_LAYERS = "all"


@dataclass(frozen=True)
class Layer:
    """One module of a network as it was seen in a forward pass.

    Args:
        name: name as `get_submodule` takes it; empty for the network itself.
        kind: class of the module.
        num_parameters: including its children.
        holds_weight: whether it computes a weight of another module, not an activation.
        output_shape: `B C *S` of its (first) output tensor, or None if it returned none.
        order: when its forward ended, counted from 0; -1 if it returned no tensor.
        runs: number of times that it ran.
        returns: what it returns, in words such as "a tuple of 2 tensors"; empty if it never ran.
        is_spatial: whether the output has channels and the window's spatial axes.
        tensor_id: number that is the same for modules that hand on the very same tensor with the
            same values.
    """

    name: str
    kind: str
    num_parameters: int
    holds_weight: bool
    output_shape: Shape | None = None
    order: int = -1
    runs: int = 0
    returns: str = ""
    is_spatial: bool = False
    tensor_id: int = -1


@dataclass(frozen=True)
class UnitLayer:
    """A layer with a map for each of its units.

    Args:
        name: name as `get_submodule` takes it.
        num_units: channels of its output.
        patch: lengths of its spatial axes for one window.
    """

    name: str
    num_units: int
    patch: Shape


def list_layers(
    network: nn.Module, run: Callable[[], object], *, output: OutputChoice = FIRST
) -> list[Layer]:
    """Run the network once, without a graph, and return what was seen of every module.

    Args:
        network: the whole one; the caller holds it still.
        run: runs it on one batch of windows.
        output: which of several tensors returned by the network is meant.

    Returns:
        In the order of the tree; a module with several names goes by the first.

    Raises:
        ModelError: it is a closed network, such as TorchScript.
    """
    capability_of(network).require_hooks("a list of layers")
    modules = dict(network.named_modules())
    witness = _Witness(
        {
            name: Layer(
                name=name,
                kind=type(module).__name__,
                num_parameters=sum(parameter.numel() for parameter in module.parameters()),
                holds_weight=holds_weight(network, name),
            )
            for name, module in modules.items()
        },
        output,
    )
    whole = {"": modules[""]}
    with torch.no_grad(), on_input(whole, witness.enter), on_output(modules, witness.leave):
        run()
    return list(witness.layers.values())


def find_listed(network: nn.Module, layers: Sequence[Layer], name: str) -> Layer:
    """Return the layer of that name, which may be another name of a listed module.

    Raises:
        LayerError: there is no such layer.
    """
    module = find_layer(network, name)
    listed = {layer.name: layer for layer in layers}
    first = next(known for known, other in network.named_modules() if other is module)
    return replace(listed[first], name=name)


def require_map(layer: Layer) -> Shape:
    """Return a layer's output shape `B C *S`.

    Raises:
        LayerError: it does not run or runs more than once, or its output has no spatial axes.
    """
    if layer.runs != 1:
        times = "runs more than once in a forward pass" if layer.runs else "does not run"
        raise LayerError(f'layer "{layer.name}" {times}', hint="name a layer that runs once")
    shape = layer.output_shape
    if shape is None or not layer.is_spatial:
        raise no_map(layer.name, shape, layer.returns)
    return shape


def no_map(name: str, shape: Shape | None, returns: str = "no tensor") -> LayerError:
    """Return the error of a layer whose output has no spatial axes."""
    found = f"it returns {returns}"
    if shape is not None:
        found = shape_text(shape[1:]) or "1"
        found += f", of a batch of {shape[0]}" if len(shape) >= 4 else ""
    return LayerError(
        f'layer "{name}" has no spatial output ({found})',
        hint="`esegeta layers CONFIG` prints the shapes of all layers; units must come first",
    )


def deepest_layer(layers: Sequence[Layer]) -> Layer:
    """Return the layer with the coarsest grid: a U-Net's bottleneck.

    Layers that pool a whole window into one position, as in squeeze-and-excitation, do not count;
    nor do modules that compute a weight. Of the modules without children on the coarsest grid it
    is the last to run, or the largest block around it that hands on the same shape: a residual
    unit, but not the skip connection that concatenates its output with another. Layers that run
    more than once give way to those that run once.

    Raises:
        LayerError: no layer but the network itself has a spatial output.
    """
    spatial = [
        layer for layer in layers if layer.name and layer.is_spatial and not layer.holds_weight
    ]
    if not spatial:
        raise _no_layer_with_a_map()
    found = _deepest_of(spatial)
    once = [layer for layer in spatial if layer.runs == 1]
    return _deepest_of(once) if found.runs != 1 and once else found


def find_unit_layers(
    network: nn.Module, names: Sequence[str] | str, window: Tensor
) -> tuple[UnitLayer, ...]:
    """Run a window through the network and return the layers of these names.

    Args:
        network: the whole one; the caller holds it still.
        names: names of layers, or `all`: every layer with a map of more than one position, in the
            order in which they run; where a block hands on the output of a layer inside it
            unchanged, the block's name stands for both.
        window: `1 C *W` as the network takes it.

    Raises:
        LayerError: there is no such layer (the nearest names are given), it has no map, or it
            runs more than once in a forward pass.
    """
    layers = list_layers(network, lambda: network(window))
    if names == ALL_LAYERS:
        return _all_unit_layers(layers)
    listed = [names] if isinstance(names, str) else names
    return tuple(_unit_layer(find_listed(network, layers, name)) for name in listed)


def check_units(network: nn.Module, layer: str, channels: tuple[int, ...], window: Tensor) -> None:
    """Run a window through the whole network, and refuse a layer without these units.

    Args:
        network: the whole one; the caller holds it still.
        layer: name of the layer.
        channels: channels of the layer's output, counted from 0.
        window: `1 C *W` as the network takes it.

    Raises:
        LayerError: there is no such layer (the nearest names are given), it does not run or runs
            more than once, its output has no spatial axes, or fewer channels.
    """
    layers = list_layers(network, lambda: network(window))
    shape = require_map(find_listed(network, layers, layer))
    for channel in channels:
        if not 0 <= channel < shape[1]:
            raise LayerError(
                f'channel {channel} of layer "{layer}": its output is {shape_text(shape[1:])}',
                hint=f"name a channel from 0 to {shape[1] - 1}",
            )


class _Witness:
    """Notes what modules do during a forward pass.

    Args:
        layers: what is already known of each module, by name.
        output: which tensor of the network's output is meant.
    """

    def __init__(self, layers: dict[str, Layer], output: OutputChoice) -> None:
        self.layers = layers
        self._output = output
        self._window: Shape | None = None
        self._num_ended = 0
        self._num_tensors = 0
        # Weakly: an inspection must not hold all activations of a network at a time.
        self._latest: dict[int, tuple[weakref.ref[Tensor], int, int]] = {}

    def enter(self, name: str, window: Tensor | None) -> None:
        """Note the network's input."""
        self._window = None if window is None else tuple(window.shape)

    def leave(self, run: LayerRun) -> None:
        """Note what a module returns."""
        before = self.layers[run.name]
        output = run.tensor if run.name else self._output.of(run.output)
        after = replace(before, runs=before.runs + 1, returns=describe_output(run.output))
        if output is not None:
            after = replace(
                after,
                output_shape=tuple(output.shape),
                order=self._num_ended,
                is_spatial=self._is_spatial(tuple(output.shape)),
                tensor_id=self._id_of(output),
            )
            self._num_ended += 1
        self.layers[run.name] = after

    def _is_spatial(self, shape: Shape) -> bool:
        if self._window is None:  # the network itself was not called, only parts of it
            return len(shape) >= 4
        # What is not one map a window, such as a weight or a bag of patches, is no activation map.
        if len(shape) < 4 or len(shape) != len(self._window) or shape[0] != self._window[0]:
            return False
        return not holds_units_last(shape, self._window[2:])

    def _id_of(self, output: Tensor) -> int:
        known = self._latest.get(id(output))
        # An activation in place returns the tensor that it was given, with other values.
        if known is not None and known[0]() is output and known[1] == output._version:
            return known[2]
        self._num_tensors += 1
        self._latest[id(output)] = (weakref.ref(output), output._version, self._num_tensors)
        return self._num_tensors


def _deepest_of(spatial: Sequence[Layer]) -> Layer:
    named = {layer.name: layer for layer in spatial}
    parents = {name.rpartition(".")[0] for name in named}
    leaves = [layer for name, layer in named.items() if name not in parents]
    maps = [layer for layer in leaves if _num_voxels(layer) > 1]
    found = min(maps or leaves, key=lambda layer: (_num_voxels(layer), -layer.order))
    shape = found.output_shape
    above = found.name.rpartition(".")[0]
    while above in named and named[above].output_shape == shape:
        found, above = named[above], above.rpartition(".")[0]
    return found


def _num_voxels(layer: Layer) -> int:
    assert layer.output_shape is not None
    return math.prod(layer.output_shape[2:])


def _all_unit_layers(layers: Sequence[Layer]) -> tuple[UnitLayer, ...]:
    outermost: dict[int, Layer] = {}
    for layer in sorted(layers, key=lambda layer: layer.order):
        # A whole window pooled into one number marks nothing.
        has_map = layer.is_spatial and _num_voxels(layer) > 1
        if not layer.name or layer.holds_weight or layer.runs != 1 or not has_map:
            continue
        maker = outermost.setdefault(layer.tensor_id, layer)
        if maker.name.startswith(f"{layer.name}."):
            outermost[layer.tensor_id] = layer
    if not outermost:
        raise _no_layer_with_a_map()
    return tuple(_unit_layer(layer) for layer in outermost.values())


def _unit_layer(layer: Layer) -> UnitLayer:
    shape = require_map(layer)
    return UnitLayer(layer.name, shape[1], shape[2:])


def _no_layer_with_a_map() -> LayerError:
    return LayerError("the network has no layer with a spatial output", hint="name a layer")
