"""Before anything is computed: windows of zeros through the network, to learn what it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn

from esegeta.axes import Batch, Logits, Shape, shape_text
from esegeta.errors import ModelError, WindowError
from esegeta.model import (
    FIRST,
    OutputChoice,
    convolution_signature,
    held_still,
    list_layers,
    require_packages,
)
from esegeta.predict.coverage import Coverage, covered_voxels, layer_extents

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
LARGEST_PROBE_VOXELS = 192**3

STEPS = (48, 32, 16, 24, 12, 8, 4, 2)
"""By how much a second window differs in size: multiples of most networks' strides."""


@dataclass(frozen=True, eq=False)
class Probe:
    """What a network made of a window of zeros.

    Args:
        logits: `1 L *O`.
        note: what the user should know about its outputs; empty where there is nothing to say.
        coverage: voxels of the window that the output covers; None for all of them, one position a
            voxel.
    """

    logits: Logits
    note: str
    coverage: Coverage | None = None

    @property
    def num_outputs(self) -> int:
        """Number of output channels."""
        return int(self.logits.shape[1])

    @property
    def positions(self) -> Shape:
        """Positions along each axis of the output."""
        return tuple(self.logits.shape[2:])


@dataclass(frozen=True)
class _Probed:
    """A network, and how windows go through it."""

    network: nn.Module
    num_channels: int
    output: OutputChoice


def probe_output(
    network: nn.Module,
    size: Shape,
    num_channels: int,
    *,
    output: OutputChoice = FIRST,
    key: str = "inference.window",
) -> Probe:
    """Run a window of zeros through a network, and return what it made of it.

    Args:
        network: any module from `B C *W` to logits.
        size: size of the window, `*W`.
        num_channels: C.
        output: which of several returned tensors holds the logits.
        key: name of the size in messages.

    Raises:
        OutputChoiceError: the network does not return the chosen output.
        WindowError: the network cannot take the window; the message says how many lengths it needs,
            or which number each must be a multiple of.
        ModelError: the network fails for another reason, such as a package that is missing, or the
            voxels that its output covers cannot be determined.
    """
    probed = _Probed(network, num_channels, output)
    _require_axes(probed, size, key)
    found, reason = _attempt(probed, size)
    if found is not None and found.positions == size:
        return found
    multiple = _multiple_that_works(probed, size, size if found is None else found.positions)
    if multiple is not None:
        rounded = [max(multiple, round(length / multiple) * multiple) for length in size]
        raise WindowError(
            f"{key}: the network cannot take {shape_text(size)} ({reason})",
            hint=f"each length must be a multiple of {multiple}, such as {rounded}",
        )
    coverage = None if found is None else _find_coverage(probed, size, found.positions)
    if found is None or coverage is None:
        raise ModelError(
            f"the network fails on a window of {shape_text(size)} with {num_channels} "
            f"channel{'s' * (num_channels != 1)}: {reason}",
            hint=f"check model.args (in_channels, spatial_dims), data.channels and {key}",
        )
    return replace(found, coverage=coverage)


def count_outputs(
    network: nn.Module,
    size: Shape,
    num_channels: int,
    *,
    output: OutputChoice = FIRST,
    key: str = "inference.window",
) -> int:
    """Return the number of output channels of a network that keeps the shape of its window.

    Raises:
        ModelError: it does not keep the shape; see also `probe_output`.
    """
    probe = probe_output(network, size, num_channels, output=output, key=key)
    if probe.coverage is not None:
        raise ModelError(
            f"{key}: the network turns a window of {shape_text(size)} into "
            f"{shape_text(probe.positions)}",
            hint="only networks that keep the shape of the window can be used here",
        )
    return probe.num_outputs


def empty_window(network: nn.Module, size: Shape, num_channels: int) -> Batch:
    """Return a window of zeros, `1 C *W`, where the network is and as it takes it."""
    parameter = next(network.parameters(), torch.zeros(()))
    return torch.zeros((1, num_channels, *size)).to(parameter)


def _require_axes(probed: _Probed, size: Shape, key: str) -> None:
    """Refuse 2D windows of a 3D network, and the reverse.

    torch takes a 2D window for a 3D one without a batch axis, so one window alone may pass. Of
    more windows than there are channels it cannot.
    """
    signature = convolution_signature(probed.network)
    if signature is None or signature[0] == len(size):
        return
    several = empty_window(probed.network, size, probed.num_channels)
    several = several.expand(probed.num_channels + 1, *several.shape[1:])
    try:
        with torch.no_grad(), held_still(probed.network):
            probed.network(several)
    except Exception as error:
        wanted = signature[0]
        raise WindowError(
            f"{key}: {shape_text(size)} has {len(size)} lengths, and the network's first "
            f"convolution is {wanted}D",
            hint=f"give {wanted} lengths, such as {[size[0]] * wanted}",
        ) from error


def _attempt(probed: _Probed, size: Shape) -> tuple[Probe | None, str]:
    """Return what became of a window, or None and why; and why where its shape is another."""
    window = empty_window(probed.network, size, probed.num_channels)
    try:
        with torch.no_grad(), held_still(probed.network):
            returned = probed.network(window)
    except Exception as error:  # whatever the network's own code raises is the reason it fails
        require_packages("the network", error)
        text = str(error).strip().splitlines()
        return None, text[0][:200] if text else type(error).__name__
    logits = probed.output.of(returned)
    if logits is None:
        return None, "it returned no tensor"
    found = Probe(logits, probed.output.note(returned))
    if found.positions == size:
        return found, ""
    reason = f"it returned {shape_text(found.positions)}"
    reason += f"; {found.note}" if found.note else ""
    return (found if len(found.positions) == len(size) else None), reason


def _find_coverage(probed: _Probed, size: Shape, positions: Shape) -> Coverage | None:
    """Return which voxels of a window an output covers, seen at a second size of the window."""
    for other in _other_sizes(size):
        second, _ = _attempt(probed, other)
        if second is None:
            continue
        covered = covered_voxels(size, positions, other, second.positions)
        if covered is not None:
            layers = [_layer_shapes(probed, one) for one in (size, other)]
            return Coverage(positions, covered, layer_extents(size, other, *layers))
    return None


def _other_sizes(size: Shape) -> Iterator[Shape]:
    for sign in (-1, 1):
        for step in STEPS:
            other = tuple(length + sign * step for length in size)
            if min(other) > 0 and math.prod(other) <= LARGEST_PROBE_VOXELS:
                yield other


def _layer_shapes(probed: _Probed, size: Shape) -> dict[str, Shape]:
    """Return the positions of each layer for a window; empty where layers cannot be watched."""
    window = empty_window(probed.network, size, probed.num_channels)
    try:
        with held_still(probed.network):
            layers = list_layers(probed.network, lambda: probed.network(window))
    except Exception:  # a scripted network; its layers cannot be named either
        return {}
    return {
        layer.name: tuple(layer.output_shape[2:])
        for layer in layers
        if layer.is_spatial and layer.output_shape is not None
    }


def _multiple_that_works(probed: _Probed, size: Shape, positions: Shape) -> int | None:
    """Return the smallest power of two such that windows rounded up to it go through.

    Args:
        probed: the network.
        size: of a window that it refuses, or whose shape it does not keep.
        positions: of its output; the size where it returned none.
    """
    for multiple in MULTIPLES:
        if not _may_have_rounded(size, positions, multiple):
            continue
        rounded = tuple(-(-length // multiple) * multiple for length in size)
        num_voxels = math.prod(rounded)
        if rounded == size or num_voxels > LARGEST_PROBE_VOXELS:
            continue
        # An odd number of multiples, so that a size that also fits a larger one proves nothing.
        odd = tuple(length if (length // multiple) % 2 else length + multiple for length in rounded)
        if all(_keeps(probed, trial) for trial in (rounded, odd)):
            return multiple
    return None


def _may_have_rounded(size: Shape, positions: Shape, multiple: int) -> bool:
    """Tell whether an output may be its window, rounded to a multiple on some axes.

    What is rounded to a multiple is one, and differs by less than it: larger windows need not be
    tried on networks of valid convolutions.
    """
    return all(
        position == length or (position % multiple == 0 and abs(position - length) < multiple)
        for length, position in zip(size, positions, strict=True)
    )


def _keeps(probed: _Probed, size: Shape) -> bool:
    """Tell whether the network takes a window of this size and keeps its shape."""
    found, _ = _attempt(probed, size)
    return found is not None and found.positions == size
