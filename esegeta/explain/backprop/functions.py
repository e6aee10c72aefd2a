"""Which functions are activations, gates, sums, products and linear maps.

Functions that only move or choose values (concatenation, reshaping, padding, cropping, max
pooling) need no rule: their gradient already hands relevance to the values' owners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Function = Callable[..., Any]

SOFTMAXES: tuple[Function, ...] = (F.softmax, torch.softmax, Tensor.softmax)

GATES: tuple[Function, ...] = (
    *(torch.sigmoid, torch.sigmoid_, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_),
    *(F.hardsigmoid, *SOFTMAXES),
    *(torch.tanh, torch.tanh_, F.tanh, Tensor.tanh, Tensor.tanh_),
)
"""Activations whose output, multiplied with something, decides how much of that goes on."""

ACTIVATIONS: tuple[Function, ...] = (
    *(F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu6),
    *(F.leaky_relu, F.leaky_relu_, F.prelu, torch.prelu, Tensor.prelu, F.rrelu, F.rrelu_),
    *(F.elu, F.elu_, F.selu, F.selu_, torch.selu, torch.selu_, F.celu, F.celu_),
    *(torch.celu, torch.celu_, F.gelu, F.silu, F.mish, F.hardswish, F.hardtanh, F.hardtanh_),
    *(F.softplus, F.softsign, F.softshrink, F.hardshrink, F.tanhshrink, F.logsigmoid),
    *(F.threshold, F.log_softmax, torch.log_softmax, Tensor.log_softmax),
    *(torch.clamp, Tensor.clamp, Tensor.clamp_, Tensor.clip, torch.clip),
    *(torch.pow, Tensor.pow, Tensor.pow_, Tensor.__pow__, torch.square, Tensor.square),
    *(torch.exp, Tensor.exp, torch.log, Tensor.log, torch.sqrt, Tensor.sqrt),
    *(torch.abs, Tensor.abs, torch.sin, torch.cos, torch.erf, torch.neg, Tensor.neg),
    *(torch.nan_to_num, Tensor.nan_to_num),
)
"""Functions of one value each."""

SUMS: dict[Function, tuple[float, float]] = {
    **dict.fromkeys(
        (torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__),
        (1.0, 1.0),
    ),
    **dict.fromkeys(
        (torch.sub, torch.subtract, Tensor.sub, Tensor.sub_, Tensor.__sub__, Tensor.__isub__),
        (1.0, -1.0),
    ),
    **dict.fromkeys((torch.rsub, Tensor.__rsub__), (-1.0, 1.0)),
}
"""Sums of two terms, with what each is multiplied by."""

PRODUCTS: tuple[Function, ...] = (
    *(torch.mul, torch.multiply, Tensor.mul, Tensor.mul_, Tensor.multiply),
    *(Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__),
)
"""Products of two tensors, value by value."""

QUOTIENTS: tuple[Function, ...] = (
    *(torch.div, torch.divide, torch.true_divide, Tensor.div, Tensor.div_),
    *(Tensor.divide, Tensor.true_divide, Tensor.__truediv__, Tensor.__itruediv__),
)
"""Quotients of two tensors, value by value."""

CONTRACTIONS: tuple[Function, ...] = (
    *(torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm, torch.mm, Tensor.mm),
)
"""Products of two tensors that sum over an axis."""

LINEAR_MAPS: tuple[Function, ...] = (
    *(F.interpolate, F.upsample),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.grid_sample),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(torch.mean, Tensor.mean, torch.sum, Tensor.sum),
)
"""Weighted sums whose weights are not learned."""

IN_PLACE = ("__iadd__", "__isub__", "__imul__", "__itruediv__")

PLAIN_NODES = frozenset(
    (
        *("AccumulateGrad", "Alias", "AsStrided", "Cat", "Clone", "Contiguous", "Copy"),
        *("CopySlices", "ConstantPadNd", "Diagonal", "Expand", "Flip", "Gather", "Index"),
        *("IndexSelect", "IndexPut", "MaskedFill", "MaxPool2D", "MaxPool3D"),
        *("MaxPool1D", "MaxPool2DWithIndices", "MaxPool3DWithIndices", "AdaptiveMaxPool2D"),
        *("AdaptiveMaxPool3D", "Amax", "Max", "Maximum", "Minimum", "Movedim", "Narrow"),
        *("Permute", "PixelShuffle", "PixelUnshuffle", "ReflectionPad1D", "ReflectionPad2D"),
        *("ReflectionPad3D", "ReplicationPad1D", "ReplicationPad2D", "ReplicationPad3D"),
        *("Repeat", "ReshapeAlias", "Roll", "Select", "Slice", "SplitWithSizes", "Split"),
        *("Squeeze", "Stack", "T", "ToCopy", "Transpose", "Unbind", "Unfold", "UnsafeSplit"),
        *("UnsafeView", "Unsqueeze", "View", "Where", "ViewAs", "ChannelShuffle"),
    )
)
"""Nodes of autograd's graph, without `Backward`, whose gradient is their rule."""

MAP_NODES = frozenset(
    (
        *("UpsampleLinear1D", "UpsampleBilinear2D", "UpsampleTrilinear3D", "UpsampleBicubic2D"),
        *("UpsampleNearest1D", "UpsampleNearest2D", "UpsampleNearest3D"),
        *("AvgPool2D", "AvgPool3D"),
    )
)
"""Nodes of linear maps, where these are torch's own."""


def is_in_place(function: Function) -> bool:
    """Tell whether a function writes over its first argument, by its name."""
    name = getattr(function, "__name__", "")
    return name in IN_PLACE or (name.endswith("_") and not name.endswith("__"))
