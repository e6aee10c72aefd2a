"""A network run at a baseline and at an image, so that its gradients become multipliers.

The two runs are paired call by call: the first notes what every nonlinear function was given, the
second replaces the function's derivative by its multiplier between the two. No layout of the
network's tensors is taken for granted, and modules may be used as often as they like.
"""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from esegeta.errors import ModelError
from esegeta.explain.backprop.calls import (
    ACTIVATIONS,
    CURVES,
    PRODUCTS,
    QUOTIENTS,
    Call,
    Intercept,
    Resolved,
    requires_grad,
    resolve,
    spelled,
)
from esegeta.explain.backprop.carry import nodes_without_rule
from esegeta.explain.backprop.functions import MAP_NODES
from esegeta.explain.backprop.lift_rules import along_line, normalised, pooled, secant, sloped

NODES = 16
"""Nodes of the quadrature along the line of functions that have no closed form."""

SMOOTH: tuple[Call, ...] = (
    *(F.softmax, torch.softmax, Tensor.softmax, F.softmin, F.normalize, F.rms_norm, F.glu),
    *(F.log_softmax, torch.log_softmax, Tensor.log_softmax, F.scaled_dot_product_attention),
    *(torch.logsumexp, Tensor.logsumexp, F.local_response_norm, torch.group_norm),
    *(torch.instance_norm, torch.layer_norm, torch.rms_norm, torch.maximum, torch.minimum),
    *(torch.amax, Tensor.amax, torch.amin, Tensor.amin, torch.var, Tensor.var),
    *(torch.std, Tensor.std, torch.norm, Tensor.norm, torch.linalg.vector_norm),
)
"""Functions that are neither element-wise nor linear nor of closed form."""


@dataclass(frozen=True)
class PairedCall:
    """One call of a nonlinear function in both runs.

    Args:
        call: call in the image's run, out of place.
        leaves: all its arguments, one after the other.
        layout: puts them back in their places.
        starts: values of the tensors among them in the baseline's run.
    """

    call: Resolved
    leaves: list[Any]
    layout: TreeSpec
    starts: Sequence[Tensor | None]

    @cached_property
    def moving(self) -> list[int]:
        """Which of its arguments are not the same at the image as at the baseline.

        Some may be without a gradient: beside the layer that multipliers are wanted for.
        """
        return [
            place
            for place, (leaf, start) in enumerate(zip(self.leaves, self.starts, strict=True))
            if requires_grad(leaf) or (start is not None and not torch.equal(leaf, start))
        ]

    def plain(self) -> Tensor:
        """Return the result with its own gradient."""
        result: Tensor = self.call.function(*self.call.args, **self.call.kwargs)
        return result

    def along_line(self, num_nodes: int = NODES) -> Tensor:
        """Return the result with its mean gradient along the line of all that moves."""
        places = self.moving
        starts = [self.start(place) for place in places]
        ends = [self.leaves[place] for place in places]
        if self.call.in_place:  # what is kept for the backward pass must outlive the writing
            ends = [end.clone() for end in ends]
        return along_line(lambda *tensors: self.of(places, tensors), starts, ends, num_nodes)

    def start(self, place: int) -> Tensor:
        """Return what a moving argument was in the baseline's run."""
        start = self.starts[place]
        if start is None or start.shape != self.leaves[place].shape:
            raise _other_way()
        return start.to(self.leaves[place].dtype)

    def of(self, places: Sequence[int], tensors: Sequence[Tensor]) -> Tensor:
        """Return the function's result for other tensors in some places, in their precision."""
        double = tensors[0].dtype == torch.float64
        leaves = [leaf.double() if double and _is_floating(leaf) else leaf for leaf in self.leaves]
        for place, tensor in zip(places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self.layout)
        result: Tensor = self.call.function(*args, **kwargs)
        return result


Lifter = Callable[[PairedCall], Tensor]


def functions_without_rule(logits: Tensor) -> list[str]:
    """Return torch's own nodes between logits and input that are not linear, nor any rule's.

    An autograd function of the network's own is one of them: what it calls is not seen.
    """
    return [name for name in nodes_without_rule(logits) if name not in LINEAR_NODES]


LINEAR_NODES = frozenset(
    (
        *("_Sloped", "_AlongLine", "_Normalised", "_Pooled"),  # these are rules
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
        varying = [_is_floating(leaf) and not isinstance(leaf, nn.Parameter) for leaf in leaves]
        if LIFTERS[function] is _lift_product and sum(varying) < 2:
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
            raise _other_way()
        call = resolve(function, args, kwargs)
        leaves, layout = tree_flatten((call.args, call.kwargs))
        if not torch.is_grad_enabled() or not any(map(requires_grad, leaves)):
            return function(*args, **kwargs)
        return call.finish(LIFTERS[function](PairedCall(call, leaves, layout, starts)))

    with torch.no_grad(), Intercept(dict.fromkeys(LIFTERS, note)):
        y_baseline = run(baseline)
    with torch.enable_grad(), Intercept(dict.fromkeys(LIFTERS, replace)):
        y = run(image)
    if noted:
        raise _other_way()
    return y, y_baseline


def _lift_curve(pair: PairedCall) -> Tensor:
    if pair.moving != [0]:  # a slope that is itself computed from the image
        return pair.along_line()
    end = pair.leaves[0]
    with torch.no_grad(), torch.autocast(end.device.type, enabled=False):
        slope = secant(lambda x: pair.of([0], [x]), pair.start(0), end)
    return sloped(end, lambda x: pair.of([0], [x]), slope)


def _lift_product(pair: PairedCall) -> Tensor:
    num_factors = len(pair.moving)
    return pair.plain() if num_factors == 1 else pair.along_line(math.ceil(num_factors / 2))


def _lift_quotient(pair: PairedCall) -> Tensor:
    return pair.plain() if pair.moving == [0] else pair.along_line()


def _lift_instance_norm(pair: PairedCall) -> Tensor:
    given = _arguments(F.instance_norm, pair)
    if not given["use_input_stats"]:  # its statistics are fixed: linear
        return pair.plain()
    batch, channels = given["input"].shape[:2]
    return _lift_norm(pair, given, batch * channels)


def _lift_group_norm(pair: PairedCall) -> Tensor:
    given = _arguments(F.group_norm, pair)
    return _lift_norm(pair, given, given["input"].shape[0] * given["num_groups"])


def _lift_layer_norm(pair: PairedCall) -> Tensor:
    given = _arguments(F.layer_norm, pair)
    num_axes = len(given["normalized_shape"])
    return _lift_norm(pair, given, math.prod(given["input"].shape[:-num_axes]))


def _lift_norm(pair: PairedCall, given: dict[str, Any], num_rows: int) -> Tensor:
    if pair.moving != [0]:  # weights that are computed from the image
        return pair.along_line()
    end, weight = pair.leaves[0], given["weight"]
    if weight is not None and "normalized_shape" not in given:  # one per channel
        weight = weight.reshape(-1, *(1,) * (end.ndim - 2))
    return normalised(
        lambda x: pair.of([0], [x]), pair.start(0), end, weight, num_rows, given["eps"]
    )


def _lift_pool(indexed: Call) -> Lifter:
    def lifter(pair: PairedCall) -> Tensor:
        rest = {name: it for name, it in pair.call.kwargs.items() if name != "return_indices"}
        return pooled(
            lambda x: indexed(x, *pair.call.args[1:], **rest), pair.start(0), pair.leaves[0]
        )

    return lifter


def _arguments(signature: Call, pair: PairedCall) -> dict[str, Any]:
    bound = inspect.signature(signature).bind(*pair.call.args, **pair.call.kwargs)
    bound.apply_defaults()
    return bound.arguments


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _other_way() -> ModelError:
    return ModelError(
        "the network takes a different path at the baseline than at the image, so its layers "
        "cannot be compared",
        hint="does its forward branch on values, or draw random numbers? use integrated_gradients",
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
    **spelled({**ACTIVATIONS, **CURVES}, _lift_curve),
    **spelled(PRODUCTS, _lift_product),
    **spelled(QUOTIENTS, _lift_quotient),
    **dict.fromkeys(SMOOTH, PairedCall.along_line),
    **{pool: _lift_pool(indexed) for pool, indexed in POOLS.items()},
    F.instance_norm: _lift_instance_norm,
    F.group_norm: _lift_group_norm,
    F.layer_norm: _lift_layer_norm,
}
"""What replaces each function that is neither linear nor left with its own gradient."""
