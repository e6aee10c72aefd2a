"""What replaces the derivative of each kind of function: curves, products, norms, pools."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.explain.backprop.calls import Call
from esegeta.explain.backprop.lift_choices import product_slopes, quotient_slopes
from esegeta.explain.backprop.lift_rules import (
    as_it_is,
    less_mean,
    normalised,
    pooled,
    secant,
    sloped,
)
from esegeta.explain.backprop.paired_call import Lifter, PairedCall

ELEMENTWISE: tuple[Call, ...] = (torch.mul, torch.multiply, Tensor.mul, Tensor.multiply)
"""Products value by value, out of place."""


def lift_curve(pair: PairedCall) -> Tensor:
    """Return the result of an element-wise function: its secant."""
    if pair.moving != [0]:  # a slope that is itself computed from the image
        return pair.along_line()
    end = pair.leaves[0]
    with torch.no_grad(), torch.autocast(end.device.type, enabled=False):
        slope = secant(lambda x: pair.of([0], [x]), pair.start(0), end)
    return sloped(end, lambda x: pair.of([0], [x]), slope)


def lift_product(pair: PairedCall) -> Tensor:
    """Return the result of a function that is linear in each of its tensors, by enough nodes."""
    num_factors = len(pair.moving)
    if num_factors == 1:
        return pair.plain()
    if pair.moving == [0, 1] and pair.call.function in ELEMENTWISE:
        slopes = product_slopes(*pair.ends_of([0, 1]))
        if slopes is not None:
            return pair.sloped([0, 1], slopes)
    return pair.along_line(math.ceil(num_factors / 2))


def lift_quotient(pair: PairedCall) -> Tensor:
    """Return the result of a quotient."""
    if pair.moving == [0]:
        return pair.plain()
    if len(pair.leaves) > 2:  # a quotient that is rounded
        return pair.along_line()
    return pair.sloped([0, 1], quotient_slopes(*pair.ends_of([0, 1])))


def lift_moved(pair: PairedCall) -> Tensor:
    """Return the result of a function that is linear in its first tensor alone."""
    return pair.plain() if pair.moving == [0] else pair.along_line()


def lift_instance_norm(pair: PairedCall) -> Tensor:
    """Return the result of an instance norm."""
    given = _arguments(F.instance_norm, pair)
    if not given["use_input_stats"]:  # its statistics are fixed: linear
        return pair.plain()
    batch, channels = given["input"].shape[:2]
    return _lift_norm(pair, given, batch * channels)


def lift_group_norm(pair: PairedCall) -> Tensor:
    """Return the result of a group norm."""
    given = _arguments(F.group_norm, pair)
    return _lift_norm(pair, given, given["input"].shape[0] * given["num_groups"])


def lift_layer_norm(pair: PairedCall) -> Tensor:
    """Return the result of a layer norm."""
    given = _arguments(F.layer_norm, pair)
    num_axes = len(given["normalized_shape"])
    return _lift_norm(pair, given, math.prod(given["input"].shape[:-num_axes]))


def lift_rms_norm(pair: PairedCall) -> Tensor:
    """Return the result of a root mean square norm."""
    given = _arguments(F.rms_norm, pair)
    num_axes = len(given["normalized_shape"])
    return _lift_norm(pair, given, math.prod(given["input"].shape[:-num_axes]), as_it_is)


def _lift_norm(
    pair: PairedCall,
    given: dict[str, Any],
    num_rows: int,
    centred: Callable[[Tensor], Tensor] = less_mean,
) -> Tensor:
    if pair.moving != [0]:  # weights that are computed from the image
        return pair.along_line()
    end, weight = pair.leaves[0], given["weight"]
    if weight is not None and "normalized_shape" not in given:  # one per channel
        weight = weight.reshape(-1, *(1,) * (end.ndim - 2))
    eps = torch.finfo(end.dtype).eps if given["eps"] is None else given["eps"]
    return normalised(
        lambda x: pair.of([0], [x]), pair.start(0), end, weight, num_rows, eps, centred
    )


def lift_pool(indexed: Call) -> Lifter:
    """Return what lifts a max pooling, by its form that says where the maxima are."""

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
