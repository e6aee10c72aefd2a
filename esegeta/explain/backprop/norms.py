"""Norms frozen at the statistics of a forward pass, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.explain.backprop.operations import FrozenNorm, along


def freeze_batch_norm(x: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    """Freeze a batch norm: at its running statistics, or at those of the batch."""
    mean, variance = given.get("running_mean"), given.get("running_var")
    if given.get("training", False) or mean is None or variance is None:
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(dim=axes), x.var(dim=axes, correction=0)
    return _per_channel(along(mean, x, 1), along(variance, x, 1), given)


def freeze_instance_norm(x: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    """Freeze an instance norm: each sample and channel by itself, or at running statistics."""
    mean, variance = given.get("running_mean"), given.get("running_var")
    if not given.get("use_input_stats", True) and mean is not None and variance is not None:
        return _per_channel(along(mean, x, 1), along(variance, x, 1), given)
    axes = tuple(range(2, x.ndim))
    mean = x.mean(dim=axes, keepdim=True)
    return _per_channel(mean, x.var(dim=axes, keepdim=True, correction=0), given)


def freeze_group_norm(x: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    """Freeze a group norm: each sample and group of channels by itself."""
    groups = int(given["num_groups"])
    parts = x.reshape(x.shape[0], groups, -1)
    size = x.shape[1] // groups
    rows = (x.shape[0], x.shape[1], *(1 for _ in x.shape[2:]))
    mean = parts.mean(dim=2).repeat_interleave(size, dim=1).reshape(rows)
    variance = parts.var(dim=2, correction=0).repeat_interleave(size, dim=1).reshape(rows)
    return _per_channel(mean, variance, given)


def freeze_layer_norm(x: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    """Freeze a layer norm: each position by itself, over the last axes."""
    axes = tuple(range(x.ndim - len(given["normalized_shape"]), x.ndim))
    mean = x.mean(dim=axes, keepdim=True)
    sigma = (x.var(dim=axes, keepdim=True, correction=0) + given.get("eps", 1e-5)).sqrt()
    axis = -1 if len(axes) == 1 else None
    return FrozenNorm(mean, sigma, *_affine(given), channel_axis=axis)


def _per_channel(mean: Tensor, variance: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    sigma = (variance.float() + given.get("eps", 1e-5)).sqrt()
    return FrozenNorm(mean.float(), sigma, *_affine(given), channel_axis=1)


def _affine(given: Mapping[str, Any]) -> tuple[Tensor | None, Tensor | None]:
    weight, bias = given.get("weight"), given.get("bias")
    return (
        None if weight is None else weight.detach().float(),
        None if bias is None else bias.detach().float(),
    )


Freeze = Callable[[Tensor, Mapping[str, Any]], FrozenNorm]

_STATISTICS = ("input", "running_mean", "running_var", "weight", "bias")

NORMS: dict[Callable[..., Tensor], tuple[Freeze, tuple[str, ...]]] = {
    F.batch_norm: (freeze_batch_norm, (*_STATISTICS, "training", "momentum", "eps")),
    F.instance_norm: (freeze_instance_norm, (*_STATISTICS, "use_input_stats", "momentum", "eps")),
    F.group_norm: (freeze_group_norm, ("input", "num_groups", "weight", "bias", "eps")),
    F.layer_norm: (freeze_layer_norm, ("input", "normalized_shape", "weight", "bias", "eps")),
}
"""Functions that normalise, how each is frozen, and the names of their arguments."""


def frozen_norm(
    function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[FrozenNorm, Tensor]:
    """Return a norm as it was in one call, and the call's input."""
    freeze, names = NORMS[function]
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    x = given["input"]
    with torch.no_grad():
        return freeze(x.detach().float(), given), x
