"""Layers by name, and what happens when they run: what they return, and what follows from it."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from esegeta.errors import LayerError, suggest
from esegeta.model.output import first_tensor, named_tensors, parts_of

PARAMETRIZATIONS = "parametrizations"
"""Where torch keeps the modules that compute a parametrized module's weights."""


def find_layer(network: nn.Module, name: str) -> nn.Module:
    """Return the module of that name.

    Raises:
        LayerError: there is no such layer (the nearest names are given), it returns a weight
            of a parametrized module, or the network is TorchScript.
    """
    refuse_script(network, name)
    try:
        layer = network.get_submodule(name) if name else network
    except AttributeError:
        layer = network
    if layer is network:
        names = [known for known, _ in network.named_modules() if known]
        nearest = suggest(name, [known for known in names if not holds_weight(network, known)])
        stop = "" if nearest.endswith("?") else ";"
        raise LayerError(
            f'layer "{name}" is not in the network',
            hint=f"{nearest}{stop} `esegeta layers CONFIG` prints them all",
        )
    if holds_weight(network, name):
        owner = name.partition(f".{PARAMETRIZATIONS}")[0]
        raise LayerError(
            f'layer "{name}" holds a weight, not an activation',
            hint=f'name the layer that the weight belongs to, "{owner}"',
        )
    return layer


def refuse_script(module: nn.Module, name: str) -> None:
    """Refuse to watch a layer that is TorchScript, or that lies inside one.

    Raises:
        LayerError: the layer is of that kind.
    """
    if isinstance(module, torch.jit.ScriptModule):
        named = f'layer "{name}"' if name else "the network"
        raise LayerError(
            f"{named} is TorchScript, whose layers cannot be watched or changed",
            hint="build the network from its class (model.kind: monai or module) for that",
        )


def find_layers(network: nn.Module, names: Collection[str]) -> dict[str, nn.Module]:
    """Return the modules of these names, as `find_layer` does one."""
    return {name: find_layer(network, name) for name in names}


def holds_weight(network: nn.Module, name: str) -> bool:
    """Tell whether a module computes a weight of another, as spectral and weight norm do."""
    parts = name.split(".")
    owners = [".".join(parts[:i]) for i, part in enumerate(parts) if part == PARAMETRIZATIONS]
    return any(is_parametrized(network.get_submodule(owner)) for owner in owners)


def holds_units_last(shape: Sequence[int], window: Sequence[int]) -> bool:
    """Tell whether an output `B *layer K` holds its units behind its positions, as Swin blocks do.

    Told by the grid: that of `*layer` goes into the window equally often along each axis, and
    that of a reading with the units first does not. Where both do, the units come first.

    Args:
        shape: shape of the output, with the batch.
        window: lengths of what the network was given, without batch and channels.
    """

    def is_even(grid: Sequence[int]) -> bool:
        steps = {n / g if n % g == 0 else 0 for n, g in zip(window, grid, strict=True)}
        return len(steps) == 1 and 0 not in steps

    if len(shape) != len(window) + 2 or 0 in shape:
        return False
    return is_even(shape[1:-1]) and not is_even(shape[2:])


@dataclass(frozen=True, eq=False)
class LayerRun:
    """A layer that has just run.

    Args:
        name: name of the layer.
        output: the layer's output, of any kind.
        is_repeated: whether a block that saves memory runs it again in the backward pass.
    """

    name: str
    output: object
    is_repeated: bool

    @property
    def tensor(self) -> Tensor | None:
        """The first tensor of the output."""
        return first_tensor(self.output)

    @property
    def is_replaceable(self) -> bool:
        """Whether the first tensor can be replaced: no other one shares its memory."""
        first = self.require_tensor()
        others = [item for _, item in named_tensors(self.output) if item is not first]
        memory = first.untyped_storage()._cdata
        # A view of it would still show what was there before.
        return all(other.untyped_storage()._cdata != memory for other in others)

    def require_tensor(self) -> Tensor:
        """Return the first tensor of the output.

        Raises:
            LayerError: there is none.
        """
        if self.tensor is None:
            raise LayerError(
                f'layer "{self.name}" returns {describe_output(self.output)}, not a tensor',
                hint="name a layer inside it, or one after it",
            )
        return self.tensor

    def replaced(self, tensor: Tensor) -> object:
        """Return the output with another first tensor; the rest of a tuple, list or dict is kept.

        Raises:
            LayerError: there is no tensor, or another one shares its memory.
        """
        first = self.require_tensor()
        if not self.is_replaceable:
            raise LayerError(
                f'layer "{self.name}" returns {describe_output(self.output)} that share memory, '
                "so the first cannot be replaced alone",
                hint="name a layer inside it",
            )
        return _swapped(self.output, first, tensor)


def describe_output(output: object) -> str:
    """Return in words what a layer returned: a tensor, a tuple of 2 tensors, nothing."""
    if output is None:
        return "nothing"
    if isinstance(output, Tensor):
        return "a tensor"
    items = [item for _, item in parts_of(output)]
    kinds = (dict, list, tuple)
    kind = next((kind for kind in kinds if isinstance(output, kind)), type(output)).__name__
    if not items and not isinstance(output, kinds):
        return f"a {kind}"
    word = "tensor" if items and all(isinstance(item, Tensor) for item in items) else "item"
    return f"a {kind} of {len(items)} {word}{'' if len(items) == 1 else 's'}"


def _swapped(output: Any, old: Tensor, new: Tensor) -> Any:
    """Return an output with one tensor in place of another, wherever it is in it."""
    if isinstance(output, Tensor):
        return new if output is old else output
    if isinstance(output, Mapping):
        result: Any = copy.copy(output)
        for key, item in output.items():
            result[key] = _swapped(item, old, new)
        return result
    if isinstance(output, (list, tuple)):
        items = [_swapped(item, old, new) for item in output]
        make = getattr(type(output), "_make", type(output))  # that of named tuples
        return make(items)
    if parts_of(output):
        result = copy.copy(output)
        for name, item in parts_of(output):
            object.__setattr__(result, str(name), _swapped(item, old, new))  # a frozen one too
        return result
    return output
