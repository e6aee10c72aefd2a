"""Before anything is computed: one window of zeros through the network, to learn what it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esegeta.axes import Batch, Shape, shape_text
from esegeta.errors import ModelError, WindowError
from esegeta.model import first_tensor, held_still, list_layers
from esegeta.predict.coverage import Coverage, covered_voxels, layer_extents

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
LARGEST_PROBE_VOXELS = 192**3

STEPS = (48, 32, 16, 24, 12, 8, 4, 2)
"""By how much a second window differs: multiples of most networks' strides."""


@dataclass(frozen=True)
class WindowProbe:
    """What is learned from a window.

    Args:
        num_outputs: channels of the logits.
        coverage: which voxels of the window the output covers; None for all of them, one position
            a voxel.
    """

    num_outputs: int
    coverage: Coverage | None = None


def probe_window(
    network: nn.Module, size: Shape, num_channels: int, *, key: str = "inference.window"
) -> WindowProbe:
    """Return what a network makes of a window of this size.

    Args:
        network: any module from `B C *W` to logits.
        size: of the window, `*W`.
        num_channels: C.
        key: what the size is called in messages.

    Raises:
        WindowError: the network cannot take the window; the message says of which multiple each
            length must be.
        ModelError: the network fails for another reason, or which voxels its output covers cannot
            be told.
    """
    output, reason = _attempt(network, size, num_channels)
    if output is not None and tuple(output.shape[2:]) == size:
        return WindowProbe(int(output.shape[1]))
    multiple = _multiple_that_works(network, size, num_channels)
    if multiple is not None:
        rounded = [max(multiple, round(length / multiple) * multiple) for length in size]
        raise WindowError(
            f"{key}: the network cannot take {shape_text(size)} ({reason})",
            hint=f"each length must be a multiple of {multiple}, such as {rounded}",
        )
    coverage = None if output is None else _find_coverage(network, size, num_channels, output)
    if output is None or coverage is None:
        raise ModelError(
            f"the network fails on a window of {shape_text(size)} with {num_channels} channels: "
            f"{reason}",
            hint=f"check model.args (in_channels, spatial_dims) and {key}",
        )
    return WindowProbe(int(output.shape[1]), coverage)


def count_outputs(
    network: nn.Module, size: Shape, num_channels: int, *, key: str = "inference.window"
) -> int:
    """Return the number of output channels of a network that keeps the shape of its window.

    Args:
        network: any module from `B C *W` to logits.
        size: of the window, `*W`.
        num_channels: C.
        key: what the size is called in messages.

    Raises:
        WindowError: the network cannot take the window; the message says of which multiple each
            length must be.
        ModelError: the network fails for another reason.
    """
    probe = probe_window(network, size, num_channels, key=key)
    if probe.coverage is not None:
        raise ModelError(
            f"{key}: the network turns a window of {shape_text(size)} into "
            f"{shape_text(probe.coverage.positions)}",
            hint="only networks that keep the shape of the window can be used here",
        )
    return probe.num_outputs


def empty_window(network: nn.Module, size: Shape, num_channels: int) -> Batch:
    """Return a window of zeros, `1 C *W`, where the network is and as it takes it."""
    parameter = next(network.parameters(), torch.zeros(()))
    return torch.zeros((1, num_channels, *size)).to(parameter)


def _attempt(network: nn.Module, size: Shape, num_channels: int) -> tuple[Tensor | None, str]:
    window = empty_window(network, size, num_channels)
    try:
        with torch.no_grad(), held_still(network):
            output = first_tensor(network(window))
    except Exception as error:  # whatever the network's own code raises is the reason it fails
        text = str(error).strip().splitlines()
        return None, text[0][:200] if text else type(error).__name__
    if output is None:
        return None, "it returned no tensor"
    shape = tuple(output.shape[2:])
    if len(shape) != len(size):
        return None, f"it returned {shape_text(shape)}"
    return output, "" if shape == size else f"it returned {shape_text(shape)}"


def _find_coverage(
    network: nn.Module, size: Shape, num_channels: int, output: Tensor
) -> Coverage | None:
    """Return which voxels of a window an output covers, seen at a second size of the window."""
    positions = tuple(output.shape[2:])
    for other in _other_sizes(size):
        second, _ = _attempt(network, other, num_channels)
        if second is None:
            continue
        covered = covered_voxels(size, positions, other, tuple(second.shape[2:]))
        if covered is not None:
            layers = [_layer_shapes(network, one, num_channels) for one in (size, other)]
            return Coverage(positions, covered, layer_extents(size, other, *layers))
    return None


def _other_sizes(size: Shape) -> Iterator[Shape]:
    for sign in (-1, 1):
        for step in STEPS:
            other = tuple(length + sign * step for length in size)
            if min(other) > 0 and math.prod(other) <= LARGEST_PROBE_VOXELS:
                yield other


def _layer_shapes(network: nn.Module, size: Shape, num_channels: int) -> dict[str, Shape]:
    """Return the positions of each layer for a window; empty where layers cannot be watched."""
    window = empty_window(network, size, num_channels)
    try:
        with held_still(network):
            layers = list_layers(network, lambda: network(window))
    except Exception:  # a compiled or scripted network; its layers cannot be named either
        return {}
    return {
        layer.name: tuple(layer.output_shape[2:])
        for layer in layers
        if layer.is_spatial and layer.output_shape is not None
    }


def _multiple_that_works(network: nn.Module, size: Shape, num_channels: int) -> int | None:
    """Return the smallest power of two such that windows rounded up to it go through."""
    for multiple in MULTIPLES:
        rounded = tuple(-(-length // multiple) * multiple for length in size)
        num_voxels = int(torch.tensor(rounded).prod())
        if rounded == size or num_voxels > LARGEST_PROBE_VOXELS:
            continue
        # An odd number of multiples, so that a size that also fits a larger one proves nothing.
        odd = tuple(length if (length // multiple) % 2 else length + multiple for length in rounded)
        if all(_keeps(network, trial, num_channels) for trial in (rounded, odd)):
            return multiple
    return None


def _keeps(network: nn.Module, size: Shape, num_channels: int) -> bool:
    """Tell whether the network takes a window of this size and keeps its shape."""
    output, _ = _attempt(network, size, num_channels)
    return output is not None and tuple(output.shape[2:]) == size
