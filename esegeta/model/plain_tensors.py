"""Which tensors of a file a network takes as they are: dense, of its kind of numbers, and finite.

Others could be cast, and would then be something else than what was trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from esegeta.errors import ModelError, some_of

LEAST_BYTES = 2
"""Bytes of the shortest number that stands for itself; scales belong to shorter ones."""


def shape_of(value: Any) -> tuple[int, ...]:
    """Return the shape of a tensor; nothing for what has none."""
    return tuple(value.shape) if isinstance(value, Tensor) and not value.is_nested else ()


def is_shaped(value: Any, wanted: Tensor) -> bool:
    """Tell whether something is a tensor of the shape that a network wants."""
    is_one = isinstance(value, Tensor) and not value.is_nested
    return is_one and tuple(value.shape) == tuple(wanted.shape)


def shown_form(value: Any) -> str:
    """Return the shape of a tensor in words, or what stands in the place of one."""
    if not isinstance(value, Tensor):
        return f"not a tensor but {type(value).__name__}"
    return "a nested tensor" if value.is_nested else str(tuple(value.shape))


def oddity_of(value: Tensor, wanted: Tensor) -> str:
    """Return in words what keeps a tensor from being taken as it is; empty where nothing does."""
    if value.is_meta:
        return "a meta tensor, without values"
    if value.is_quantized:
        return "quantised"
    if value.layout is not torch.strided:
        return f"sparse ({str(value.layout).removeprefix('torch.')})"
    if value.is_complex() and not wanted.is_complex():
        return "complex"
    name = str(value.dtype).removeprefix("torch.")
    if value.is_floating_point() and value.element_size() < LEAST_BYTES:
        return f"{name}, whose scales are not in it"
    if wanted.is_floating_point() and not value.is_floating_point() and not value.is_complex():
        return name
    return ""


def fault_of_values(value: Tensor, wanted: Tensor) -> str:
    """Return in words which values of a tensor are not finite in a network's type, or nothing.

    Those that the network begins with itself, such as the infinity of a causal mask, are none.
    """
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return ""
    bad = ~torch.isfinite(value.to(wanted.dtype))
    count = int(bad.sum())
    if not count or not bool(torch.isfinite(wanted).all()):
        return ""
    first = value[bad][0].item()
    name = str(wanted.dtype).removeprefix("torch.")
    return f"{count} of {value.numel()} values are not finite in {name}, such as {first:g}"


def require_finite_parameters(network: nn.Module) -> None:
    """Refuse a network that holds what is not finite, wherever it comes from.

    Raises:
        ModelError: names the parameters.
    """
    found = [name for name, value in network.named_parameters() if not _is_finite(value)]
    if found:
        raise ModelError(
            f"parameters of the network are NaN or infinite: {some_of(found)}",
            hint="take a checkpoint from before the training diverged",
        )


def _is_finite(value: Tensor) -> bool:
    if value.is_meta or nn.parameter.is_lazy(value):
        return True
    return not (value.is_floating_point() or value.is_complex()) or bool(value.isfinite().all())
