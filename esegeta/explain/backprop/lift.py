"""A network run at a baseline and at an image, so that its gradients become multipliers.

The two runs are paired call by call: the first notes what every nonlinear function was given, the
second replaces the function's derivative by its multiplier between the two. No layout of the
network's tensors is taken for granted, and modules may be used as often as they like.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten

from esegeta.errors import ModelError
from esegeta.explain.backprop.calls import (
    ACTIVATIONS,
    CURVES,
    PRODUCTS,
    QUOTIENTS,
    Call,
    Intercept,
    requires_grad,
    resolve,
    spelled,
)
from esegeta.explain.backprop.carry import nodes_without_rule
from esegeta.explain.backprop.functions import MAP_NODES
from esegeta.explain.backprop.lifters import (
    lift_curve,
    lift_group_norm,
    lift_instance_norm,
    lift_layer_norm,
    lift_moved,
    lift_pool,
    lift_product,
    lift_quotient,
    lift_rms_norm,
)
from esegeta.explain.backprop.lifters_of_choices import (
    MASKS,
    WHERE,
    lift_choice,
    lift_larger,
    lift_peak,
)
from esegeta.explain.backprop.paired_call import Lifter, PairedCall, other_way, varies

SMOOTH: tuple[Call, ...] = (
    *(F.softmax, torch.softmax, Tensor.softmax, F.softmin, F.normalize, F.glu),
    *(F.log_softmax, torch.log_softmax, Tensor.log_softmax, F.scaled_dot_product_attention),
    *(torch.logsumexp, Tensor.logsumexp, F.local_response_norm, torch.group_norm),
    *(torch.instance_norm, torch.layer_norm, torch.rms_norm, torch.var, Tensor.var),
    *(torch.std, Tensor.std, torch.norm, Tensor.norm, torch.linalg.vector_norm),
    *(torch.hypot, Tensor.hypot, torch.logaddexp, Tensor.logaddexp, torch.atan2, Tensor.atan2),
    *(F.cosine_similarity, torch.cdist, torch.prod, Tensor.prod, torch.cumprod, Tensor.cumprod),
    *(torch.addcdiv, Tensor.addcdiv),
)
"""Functions that are neither element-wise nor linear nor of closed form."""

MULTILINEAR: tuple[Call, ...] = (
    *(torch.conv1d, torch.conv2d, torch.conv3d, torch.conv_transpose1d, torch.conv_transpose2d),
    *(torch.conv_transpose3d, F.linear, F.bilinear, torch.baddbmm, Tensor.baddbmm, torch.addmm),
    *(Tensor.addmm, torch.addbmm, Tensor.addbmm, torch.addmv, Tensor.addmv, torch.mv, Tensor.mv),
    *(torch.dot, Tensor.dot, torch.inner, Tensor.inner, torch.outer, Tensor.outer, torch.kron),
    *(torch.tensordot, torch.linalg.matmul, torch.addcmul, Tensor.addcmul, torch.lerp, Tensor.lerp),
)
"""More functions that are linear in each of their tensors; of weights that do not move linear."""

MOVED: tuple[Call, ...] = (F.grid_sample, torch.grid_sampler)
"""Linear in the first tensor, but not in the others."""

MAXIMA: tuple[Call, ...] = (torch.maximum, Tensor.maximum, torch.max, Tensor.max)
MINIMA: tuple[Call, ...] = (torch.minimum, Tensor.minimum, torch.min, Tensor.min)
"""Of two tensors, or of one along an axis, or of all of it."""

PEAKS: tuple[Call, ...] = (torch.amax, Tensor.amax)
DIPS: tuple[Call, ...] = (torch.amin, Tensor.amin)


def functions_without_rule(logits: Tensor) -> list[str]:
    """Return torch's own nodes between logits and input that are not linear, nor any rule's.

    An autograd function of the network's own is one of them: what it calls is not seen.
    """
    return [name for name in nodes_without_rule(logits) if name not in LINEAR_NODES]


LINEAR_NODES = frozenset(
    (
        *("_Sloped", "_SlopedEach", "_AlongLine", "_Normalised", "_Pooled", "_Peaked"),  # rules
        *("Add", "Addmm", "Baddbmm", "Bmm", "Convolution", "ConvolutionOverrideable", "Cumsum"),
        *("Div", "Linear", "Mean", "Mm", "Mul", "Mv", "Neg", "NativeBatchNorm", "CudnnBatchNorm"),
        *("CudnnConvolution", "MkldnnConvolution", "NativeDropout", "PermuteCopy", "Rsub"),
        *("SlowConv3D", "SlowConvDilated2D", "SlowConvDilated3D", "SlowConvTranspose2D"),
        *("SlowConvTranspose3D", "ThnnConv2D", "UnsafeSplitWithSizes", "Sub", "Sum", "Unflatten"),
        *("ConvDepthwise3D", "ConvDepthwise2D", "MiopenConvolution", "MpsConvolution", "Trace"),
        *("GridSampler2D", "GridSampler3D", "Im2Col", "Col2Im", "AdaptiveAvgPool2D"),
        *("AdaptiveAvgPool3D", "AdaptiveAvgPool1D", "AvgPool1D", "Pad", "Native"),
        *MAP_NODES,
    )
)
"""Nodes of linear functions; products and quotients are of constants where they are torch's."""


def lift(run: Callable[[Tensor], Tensor], image: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor]:
    """Run a network at a baseline and at an image.

    Args:
        run: the network; is called twice.
        image: image that multipliers are wanted for, so that it or something behind it needs a
            gradient.
        baseline: baseline of the same shape.

    Returns:
        The result at the image, whose gradient by whatever lies before it are multipliers m, with
        `<m, z - z'> = <g, y - y'>` between the values z and z' at image and baseline. And the
        result y' at the baseline, without a graph.

    Raises:
        ModelError: the network does not call the same functions at both.
    """
    noted: deque[tuple[Call, list[Tensor | None]]] = deque()

    def note(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = resolve(function, args, kwargs)
        leaves, _ = tree_flatten((call.args, call.kwargs))
        varying = [varies(leaf) for leaf in leaves]
        if LIFTERS[function] is lift_product and sum(varying) < 2:
            varying = [False] * len(leaves)
        # Copies: the network may write over its tensors.
        starts = [
            leaf.clone() if varies else None for leaf, varies in zip(leaves, varying, strict=True)
        ]
        noted.append((function, starts))
        return function(*args, **kwargs)

    def replace(function: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        before, starts = noted.popleft() if noted else (None, [])
        if before is not function:
            raise other_way()
        call = resolve(function, args, kwargs)
        leaves, layout = tree_flatten((call.args, call.kwargs))
        if not torch.is_grad_enabled() or not any(map(requires_grad, leaves)):
            return function(*args, **kwargs)
        if any(isinstance(leaf, Tensor) and leaf.is_complex() for leaf in leaves):
            raise _complex(function)
        return call.finish(LIFTERS[function](PairedCall(call, leaves, layout, starts)))

    with torch.no_grad(), Intercept(dict.fromkeys(LIFTERS, note)):
        y_baseline = run(baseline)
    with torch.enable_grad(), Intercept(dict.fromkeys(LIFTERS, replace)):
        y = run(image)
    if noted:
        raise other_way()
    return y, y_baseline


def _complex(function: Call) -> ModelError:
    return ModelError(
        f"the network calls {getattr(function, '__name__', function)} of complex numbers, which "
        "DeepLIFT has no rule for",
        hint="use integrated_gradients",
    )


POOLS: dict[Call, Call] = {
    F.max_pool1d: F.max_pool1d_with_indices,
    F.max_pool2d: F.max_pool2d_with_indices,
    F.max_pool3d: F.max_pool3d_with_indices,
    torch.max_pool1d: F.max_pool1d_with_indices,
    torch.max_pool2d: F.max_pool2d_with_indices,
    torch.max_pool3d: F.max_pool3d_with_indices,
    F.adaptive_max_pool1d: F.adaptive_max_pool1d_with_indices,
    F.adaptive_max_pool2d: F.adaptive_max_pool2d_with_indices,
    F.adaptive_max_pool3d: F.adaptive_max_pool3d_with_indices,
}
"""Max pooling, with its form that says where the maxima are."""

LIFTERS: dict[Call, Lifter] = {
    **spelled({**ACTIVATIONS, **CURVES}, lift_curve),
    **spelled(PRODUCTS, lift_product),
    **spelled(QUOTIENTS, lift_quotient),
    **dict.fromkeys(SMOOTH, PairedCall.along_line),
    **{pool: lift_pool(indexed) for pool, indexed in POOLS.items()},
    F.instance_norm: lift_instance_norm,
    F.group_norm: lift_group_norm,
    F.layer_norm: lift_layer_norm,
    F.rms_norm: lift_rms_norm,
    **dict.fromkeys(MULTILINEAR, lift_product),
    **dict.fromkeys(MOVED, lift_moved),
    **dict.fromkeys(MAXIMA, lift_larger(1)),
    **dict.fromkeys(MINIMA, lift_larger(-1)),
    **dict.fromkeys(PEAKS, lift_peak(1)),
    **dict.fromkeys(DIPS, lift_peak(-1)),
    **dict.fromkeys((*WHERE, *MASKS), lift_choice),
}
"""What replaces each function that is neither linear nor left with its own gradient."""
