"""Linear operations as calls: convolutions, dense layers, and norms frozen to what they do.

Convolutions, transposed ones and dense operations are bilinear in their input and weight: a rule
asks for the outputs of other inputs and other weights, and autograd transposes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

OperationKind = Literal["convolution", "transposed", "dense", "scaling"]

_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = (
    *("input", "weight", "bias", "stride", "padding"),
    *("output_padding", "groups", "dilation"),
)

SIGNATURES: dict[Callable[..., Tensor], tuple[OperationKind, tuple[str, ...]]] = {
    torch.conv1d: ("convolution", _CONVOLUTION),
    torch.conv2d: ("convolution", _CONVOLUTION),
    torch.conv3d: ("convolution", _CONVOLUTION),
    torch.conv_transpose1d: ("transposed", _TRANSPOSED),
    torch.conv_transpose2d: ("transposed", _TRANSPOSED),
    torch.conv_transpose3d: ("transposed", _TRANSPOSED),
    F.linear: ("dense", ("input", "weight", "bias")),
}
"""Functions that multiply their input with a weight, and the names of their arguments."""


@dataclass
class CallPlace:
    """Where in the network an operation stands.

    Args:
        is_first: whether it takes the image, or what the network made of it before.
        takes_crop: whether it takes the image itself.
        is_last: whether it gives the logits, with nothing but sums and norms behind it.
        index: counts the calls of its kind, linear operations or sums, in a forward pass.
    """

    is_first: bool = False
    takes_crop: bool = False
    is_last: bool = False
    index: int = -1


@dataclass(frozen=True, eq=False)
class LinearCall:
    """One call of a linear operation, `y = scale * (W x + b)`.

    Args:
        kind: sort of operation.
        function: function from input and weight to outputs without bias; bilinear.
        weight: W, a norm's weight multiplied into it.
        bias: b as it is added to the outputs, or None.
        scale: positive, as it multiplies the outputs: 1 / sigma of a frozen norm; None for 1.
        channel_axis: channel axis of the outputs.
        groups: groups of a convolution.
        stride: stride of a transposed convolution, one for each axis; with `dilation` it tells
            which taps of the kernel meet in one output.
        dilation: dilation of a transposed convolution.
        place: place of the operation in the network.
    """

    kind: OperationKind
    function: Callable[[Tensor, Tensor], Tensor]
    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None = None
    channel_axis: int = 1
    groups: int = 1
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    place: CallPlace = field(default_factory=CallPlace)

    def outputs(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the outputs of an input and a weight, without bias and scale."""
        return self.function(x, weight)

    def per_output(self, values: Tensor) -> Tensor:
        """Return one value per output channel, shaped to multiply the weight."""
        if self.kind == "transposed":  # its weight is `inputs, outputs / groups, *kernel`
            inputs, outputs, *kernel = self.weight.shape
            rows = values.reshape(self.groups, 1, outputs)
            rows = rows.expand(self.groups, inputs // self.groups, outputs)
            return rows.reshape(inputs, outputs, *(1 for _ in kernel))
        return values.reshape(-1, *(1 for _ in self.weight.shape[1:]))

    def with_norm(self, norm: FrozenNorm, outputs: Tensor) -> LinearCall:
        """Return the operation and the norm behind it as one.

            g (W x + b - m) / sigma + t = 1/sigma * (g W x + g (b - m) + t sigma)

        Only g can be negative, so that it goes into the weight and every rule sees its sign.
        """
        bias = -norm.mean if self.bias is None else self.bias - norm.mean
        weight = self.weight
        if norm.weight is not None:
            weight = weight * self.per_output(norm.weight)
            bias = bias * along(norm.weight, outputs, self.channel_axis)
        if norm.shift is not None:
            bias = bias + along(norm.shift, outputs, self.channel_axis) * norm.sigma
        return replace(self, weight=weight, bias=bias, scale=1 / norm.sigma)


@dataclass(frozen=True, eq=False)
class FrozenNorm:
    """A norm at the statistics that it had in this forward pass: `g (x - mean) / sigma + t`.

    Args:
        mean: mean as it is subtracted from the norm's input.
        sigma: positive, as it divides it.
        weight: g, one per channel (or per element of a layer norm), or None for 1.
        shift: t, likewise, or None for 0.
        channel_axis: channel axis of weight and shift, or None where they have more axes than one.
    """

    mean: Tensor
    sigma: Tensor
    weight: Tensor | None
    shift: Tensor | None
    channel_axis: int | None


def linear_call(
    function: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[LinearCall, Tensor]:
    """Return a call of one of `SIGNATURES` in its parts, and its input."""
    kind, names = SIGNATURES[function]
    given = dict(zip(names, args, strict=False)) | dict(kwargs)
    x, weight = given.pop("input"), given.pop("weight").detach().float()
    bias = given.pop("bias", None)
    axis = -1 if kind == "dense" else 1
    num_axes = weight.ndim - 2
    call = LinearCall(
        kind=kind,
        function=lambda inputs, weights: function(inputs, weights, None, **given),
        weight=weight,
        bias=None if bias is None else along(bias.detach().float(), x, axis),
        channel_axis=axis,
        groups=given.get("groups", 1),
        stride=_each_axis(given.get("stride", 1), num_axes) if kind == "transposed" else (),
        dilation=_each_axis(given.get("dilation", 1), num_axes) if kind == "transposed" else (),
    )
    return call, x


def scaling_call(norm: FrozenNorm, x: Tensor) -> LinearCall:
    """Return a norm with nothing linear before it as an operation of its own: `y = g x + b`."""
    weight = torch.ones_like(x[:1]) if norm.weight is None else norm.weight
    shift = norm.shift
    if norm.channel_axis is not None:
        weight = weight if norm.weight is None else along(weight, x, norm.channel_axis)
        shift = None if shift is None else along(shift, x, norm.channel_axis)
    bias = -norm.mean * weight + (0.0 if shift is None else shift * norm.sigma)
    return LinearCall("scaling", torch.mul, weight, bias, 1 / norm.sigma)


def along(values: Tensor, like: Tensor, axis: int) -> Tensor:
    """Return a vector shaped to go along one axis of a tensor."""
    shape = [1] * like.ndim
    shape[axis] = -1
    return values.reshape(shape)


def _each_axis(value: Any, num_axes: int) -> tuple[int, ...]:
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * num_axes if len(values) == 1 else values


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


def freeze_rms_norm(x: Tensor, given: Mapping[str, Any]) -> FrozenNorm:
    """Freeze a root mean square norm: each position by itself, and no mean is subtracted."""
    axes = tuple(range(x.ndim - len(given["normalized_shape"]), x.ndim))
    eps = given.get("eps")
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    sigma = (x.square().mean(dim=axes, keepdim=True) + eps).sqrt()
    axis = -1 if len(axes) == 1 else None
    return FrozenNorm(torch.zeros_like(sigma), sigma, *_affine(given), channel_axis=axis)


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
    F.rms_norm: (freeze_rms_norm, ("input", "normalized_shape", "weight", "eps")),
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
