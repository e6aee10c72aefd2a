"""Which layers of a network have weights, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from esegeta.model import first_tensor

WHOLE = "(network)"
"""What a network's own weights are called, that lie in none of its modules."""


@dataclass(frozen=True)
class WeightLayer:
    """One step of a randomisation: an operation with weights, and the norms and slopes behind it.

    Args:
        name: of the operation's module, for people.
        modules: names of all modules of the step.
    """

    name: str
    modules: tuple[str, ...]


def used_parameters(network: nn.Module, run: Callable[[], object]) -> set[int]:
    """Return the ids of the parameters that the output of a run depends on; of all, if unknown."""
    parameters = [item for item in network.parameters() if item.is_floating_point()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            output = first_tensor(run())
        if output is None or not output.requires_grad:
            return {id(parameter) for parameter in parameters}
        slopes = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
    pairs = zip(parameters, slopes, strict=True)
    return {id(parameter) for parameter, slope in pairs if slope is not None}


def weight_layers(
    network: nn.Module, ended: Mapping[str, int], used: Collection[int]
) -> list[WeightLayer]:
    """Return a network's layers in the order in which they ran.

    A module with a parameter of two axes or more starts a layer; one with vectors alone, a norm or
    a learned slope, joins the layer before it.

    Args:
        network: the network.
        ended: when each module ended, by name; -1 if it never did.
        used: ids of the parameters that count.
    """
    found: list[tuple[int, str, bool]] = []
    order = -1
    for name, module in network.named_modules():
        # What runs only as a part of another, without a call of its own, has its place by name.
        order = ended[name] if ended.get(name, -1) >= 0 else order
        own = [item for item in module.parameters(recurse=False) if id(item) in used]
        if own or (has_statistics(module) and ended.get(name, -1) >= 0):
            found.append((order, name, any(item.ndim > 1 for item in own)))
    layers: list[list[str]] = []
    starts = False
    for _, name, is_operation in sorted(found, key=lambda item: item[0]):
        if not layers or (is_operation and starts):
            layers.append([])
            starts = False
        layers[-1].append(name)
        starts = starts or is_operation
    return [WeightLayer(_operation(names, network), tuple(names)) for names in layers]


def evenly(items: Sequence[Any], count: int) -> list[Any]:
    """Return up to `count` of some items, evenly spread; the first and the last among them."""
    if len(items) <= count:
        return list(items)
    places = torch.linspace(0, len(items) - 1, count, dtype=torch.float64).round().long()
    return [items[place] for place in places.tolist()]


def has_statistics(module: nn.Module) -> bool:
    """Tell whether a module is a norm with running statistics."""
    return isinstance(getattr(module, "running_var", None), Tensor)


def _operation(names: Sequence[str], network: nn.Module) -> str:
    """Return the first of some modules that has a parameter of two axes or more, or the first."""
    own = {name: network.get_submodule(name).parameters(recurse=False) for name in names}
    found = [name for name in names if any(item.ndim > 1 for item in own[name])]
    return [*found, *names][0] or WHOLE
