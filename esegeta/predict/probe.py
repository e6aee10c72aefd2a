"""Before anything is computed: one window of zeros through the network, to learn what it takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esegeta.axes import Batch, Shape, shape_text
from esegeta.errors import ModelError, WindowError
from esegeta.model import first_tensor, held_still

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
LARGEST_PROBE_VOXELS = 192**3


def count_outputs(
    network: nn.Module, size: Shape, num_channels: int, *, key: str = "inference.window"
) -> int:
    """Return the number of output channels of a network for a window of this size.

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
    output, reason = _attempt(network, size, num_channels)
    if output is not None:
        return int(output.shape[1])
    multiple = _multiple_that_works(network, size, num_channels)
    if multiple is None:
        raise ModelError(
            f"the network fails on a window of {shape_text(size)} with {num_channels} channels: "
            f"{reason}",
            hint=f"check model.args (in_channels, spatial_dims) and {key}",
        )
    rounded = tuple(max(multiple, round(length / multiple) * multiple) for length in size)
    raise WindowError(
        f"{key}: the network cannot take {shape_text(size)} ({reason})",
        hint=f"each length must be a multiple of {multiple}, such as {list(rounded)}",
    )


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
    if tuple(output.shape[2:]) != size:
        return None, f"it returned {shape_text(tuple(output.shape[2:]))}"
    return output, ""


def _multiple_that_works(network: nn.Module, size: Shape, num_channels: int) -> int | None:
    """Return the smallest power of two such that windows rounded up to it go through."""
    for multiple in MULTIPLES:
        rounded = tuple(-(-length // multiple) * multiple for length in size)
        num_voxels = int(torch.tensor(rounded).prod())
        if rounded == size or num_voxels > LARGEST_PROBE_VOXELS:
            continue
        # An odd number of multiples, so that a size that also fits a larger one proves nothing.
        odd = tuple(length if (length // multiple) % 2 else length + multiple for length in rounded)
        if all(_attempt(network, trial, num_channels)[0] is not None for trial in (rounded, odd)):
            return multiple
    return None
