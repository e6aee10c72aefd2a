"""Units of a layer switched off, or a layer held at an output, while a block of code runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from esegeta.errors import LayerError
from esegeta.model.layers import find_layer


@contextmanager
def switched_off(
    network: nn.Module,
    layer: str,
    units: Sequence[int],
    values: Float[Tensor, " K"] | None = None,
) -> Iterator[None]:
    """Hold some units of a layer at a constant; what comes after the layer sees nothing else.

    Args:
        network: the whole one; it is as it was on leaving, also after an exception.
        layer: name of the layer.
        units: channels of the layer's output, from 0.
        values: what each of them is held at; 0 by default.

    Raises:
        LayerError: there is no such layer, or it returns more than one tensor.
    """
    chosen = list(units)

    def hook(module: nn.Module, inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise LayerError(
                f'layer "{layer}" returns a {type(output).__name__}, not one tensor',
                hint="name a layer inside it",
            )
        changed = output.clone()
        column = (len(chosen), *[1] * (output.ndim - 2))
        held = torch.zeros(column) if values is None else values.reshape(column)
        changed[:, chosen] = held.to(changed)
        return changed

    handle = find_layer(network, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def held_at(network: nn.Module, layer: str, output: Tensor) -> Iterator[None]:
    """Hand on an output of another run in place of a layer's own; what comes after sees it alone.

    Args:
        network: the whole one; it is as it was on leaving, also after an exception.
        layer: name of the layer; it still runs, and hooks that were there before see what it does.
        output: of the layer, for the same windows.

    Raises:
        LayerError: there is no such layer, or what it returns is of another shape.
    """

    def hook(module: nn.Module, inputs: object, own: object) -> Tensor:
        if not isinstance(own, Tensor) or own.shape != output.shape:
            found = list(own.shape) if isinstance(own, Tensor) else type(own).__name__
            raise LayerError(
                f'layer "{layer}" is to be held at an output of shape {list(output.shape)}, '
                f"and returns {found}"
            )
        return output.to(own, copy=True)

    handle = find_layer(network, layer).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
