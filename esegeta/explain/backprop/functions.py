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

from esegeta.explain.backprop.calls import ACTIVATIONS as ACTIVATIONS_BY_NAME
from esegeta.explain.backprop.calls import CURVES
from esegeta.explain.backprop.calls import PRODUCTS as PRODUCTS_BY_NAME
from esegeta.explain.backprop.calls import QUOTIENTS as QUOTIENTS_BY_NAME

Function = Callable[..., Any]

_GATES = ("sigmoid", "expit", "hardsigmoid", "tanh")
_DIVISORS = ("rsqrt", "reciprocal", "rdiv")
_NO_RULE = ("pow", "rpow", "sign", "round", "floor")
_BY_NAME = {**ACTIVATIONS_BY_NAME, **CURVES}
_HANDING_ON = [name for name in _BY_NAME if name not in (*_GATES, *_DIVISORS, *_NO_RULE)]

SOFTMAXES: tuple[Function, ...] = (F.softmax, torch.softmax, Tensor.softmax)

GATES: tuple[Function, ...] = (
    *SOFTMAXES,
    *(F.sigmoid, F.tanh),
    *(spelling for name in _GATES for spelling in _BY_NAME[name]),
)
"""Functions whose output, multiplied with something, decides how much of that goes on."""

DIVISORS: tuple[Function, ...] = tuple(spelling for name in _DIVISORS for spelling in CURVES[name])
"""One over something."""

ACTIVATIONS: tuple[Function, ...] = (
    *(spelling for name in _HANDING_ON for spelling in _BY_NAME[name]),
    *(F.log_softmax, torch.log_softmax, Tensor.log_softmax),
    *(torch.neg, Tensor.neg, Tensor.neg_, Tensor.__neg__, torch.nan_to_num, Tensor.nan_to_num),
)
"""Other functions of one value each that are continuous."""

POWERS: tuple[Function, ...] = CURVES["pow"]
"""Powers, whose exponent says whether they are divisors."""

SIZES: tuple[Function, ...] = (
    *(torch.norm, Tensor.norm, torch.linalg.norm, torch.linalg.vector_norm),
)
"""Norms of vectors: they grow as their argument does."""

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
    *PRODUCTS_BY_NAME["mul"],
    *(Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__),
)
"""Products of two tensors, value by value."""

QUOTIENTS: tuple[Function, ...] = (
    *(spelling for spellings in QUOTIENTS_BY_NAME.values() for spelling in spellings),
    *(Tensor.__truediv__, Tensor.__itruediv__),
)
"""Quotients of two tensors, value by value."""

CONTRACTIONS: tuple[Function, ...] = (
    *(spelling for name in ("matmul", "bmm", "mm") for spelling in PRODUCTS_BY_NAME[name]),
    Tensor.__matmul__,
)
"""Products of two tensors that sum over an axis."""

LINEAR_MAPS: tuple[Function, ...] = (
    *(F.interpolate, F.upsample),
    *(F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.grid_sample),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(torch.mean, Tensor.mean, torch.sum, Tensor.sum),
)
"""Weighted sums whose weights are not learned."""

MEANS: tuple[Function, ...] = (torch.mean, Tensor.mean)

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
