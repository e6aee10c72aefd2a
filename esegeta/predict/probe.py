"""Before anything is computed: one window of zeros through the network, to learn what it takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from esegeta.axes import Batch, Logits, Shape, shape_text
from esegeta.errors import ModelError, WindowError
from esegeta.model import FIRST, OutputChoice, held_still, require_packages

MULTIPLES = (2, 4, 8, 16, 32, 64, 128)
LARGEST_PROBE_VOXELS = 192**3


@dataclass(frozen=True, eq=False)
class Probe:
    """What a network made of a window of zeros.

    Args:
        logits: `1 L *W`.
        note: what the user should know of its outputs; empty where there is nothing.
    """

    logits: Logits
    note: str

    @property
    def num_outputs(self) -> int:
        """Number of output channels."""
        return int(self.logits.shape[1])


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
        size: of the window, `*W`.
        num_channels: C.
        output: which of several tensors the logits are.
        key: what the size is called in messages.

    Raises:
        OutputChoiceError: the network does not return the chosen output.
        WindowError: the network cannot take the window; the message says of which multiple each
            length must be.
        ModelError: the network fails for another reason, such as a package that is missing.
    """
    found, reason = _attempt(network, size, num_channels, output)
    if found is not None:
        return found
    multiple = _multiple_that_works(network, size, num_channels, output)
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


def count_outputs(
    network: nn.Module,
    size: Shape,
    num_channels: int,
    *,
    output: OutputChoice = FIRST,
    key: str = "inference.window",
) -> int:
    """Return the number of output channels of a network; see `probe_output`."""
    return probe_output(network, size, num_channels, output=output, key=key).num_outputs


def empty_window(network: nn.Module, size: Shape, num_channels: int) -> Batch:
    """Return a window of zeros, `1 C *W`, where the network is and as it takes it."""
    parameter = next(network.parameters(), torch.zeros(()))
    return torch.zeros((1, num_channels, *size)).to(parameter)


def _attempt(
    network: nn.Module, size: Shape, num_channels: int, output: OutputChoice
) -> tuple[Probe | None, str]:
    window = empty_window(network, size, num_channels)
    try:
        with torch.no_grad(), held_still(network):
            returned = network(window)
    except Exception as error:  # whatever the network's own code raises is the reason it fails
        require_packages("the network", error)
        text = str(error).strip().splitlines()
        return None, text[0][:200] if text else type(error).__name__
    logits = output.of(returned)
    if logits is None:
        return None, "it returned no tensor"
    note = output.note(returned)
    if tuple(logits.shape[2:]) != size:
        found = shape_text(tuple(logits.shape[2:]))
        return None, f"it returned {found}" + (f"; {note}" if note else "")
    return Probe(logits, note), ""


def _multiple_that_works(
    network: nn.Module, size: Shape, num_channels: int, output: OutputChoice
) -> int | None:
    """Return the smallest power of two such that windows rounded up to it go through."""
    for multiple in MULTIPLES:
        rounded = tuple(-(-length // multiple) * multiple for length in size)
        num_voxels = int(torch.tensor(rounded).prod())
        if rounded == size or num_voxels > LARGEST_PROBE_VOXELS:
            continue
        # An odd number of multiples, so that a size that also fits a larger one proves nothing.
        odd = tuple(length if (length // multiple) % 2 else length + multiple for length in rounded)
        trials = (_attempt(network, trial, num_channels, output) for trial in (rounded, odd))
        if all(found is not None for found, _ in trials):
            return multiple
    return None
