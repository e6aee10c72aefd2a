"""One forward pass of a network over a few windows: its logits of the voxels that it covers."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from esegeta.errors import ModelError
from esegeta.model import OutputChoice
from esegeta.predict.coverage import Coverage

Precision = Literal["fp32", "bf16", "fp16"]
MemoryFormat = Literal["contiguous", "channels_last"]

AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def run_network(
    network: nn.Module,
    inputs: Tensor,
    *,
    choice: OutputChoice,
    coverage: Coverage | None,
    precision: Precision,
    memory_format: MemoryFormat = "contiguous",
) -> Tensor:
    """Return a network's logits `N L *O` of the voxels that its output covers, differentiable.

    Args:
        network: network from windows to logits, or to an object that holds them.
        inputs: windows as the network sees them, `N C *W`.
        choice: which of several returned tensors holds the logits.
        coverage: voxels of a window that they cover; None where a position is a voxel.
        precision: precision of the network's own arithmetic; the result has the dtype of the
            inputs.
        memory_format: how the network's activations lie in memory, which changes rounding alone.

    Raises:
        ModelError: the network returned no tensor, or one of a shape other than the window's.
    """
    with _autocast(inputs.device, precision):
        output = choice.of(network(_laid_out(inputs, memory_format)))
    if output is None:
        raise ModelError(
            "the network returned no tensor",
            hint="it must return logits, or a dataclass, dict, list or tuple that holds them",
        )
    size = tuple(inputs.shape[2:])
    if coverage is not None:
        output = coverage.on_voxels(output, size)
    elif tuple(output.shape[2:]) != size:
        raise ModelError(
            f"the network turned a window of {size} into {tuple(output.shape[2:])}",
            hint="networks must keep the shape of the window, or be probed for what their "
            "output covers, as `esegeta.load_model` and a config do",
        )
    # Autocast's half precision ends with the network: blending and sums are in full.
    return output.to(inputs.dtype)


def _laid_out(inputs: Tensor, memory_format: MemoryFormat) -> Tensor:
    """Lay out the inputs of a network; its layers keep the layout of what they are given."""
    if memory_format == "contiguous":
        return inputs
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return inputs.contiguous(memory_format=formats[inputs.ndim])


def _autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST_DTYPES[precision])
