"""What replaces the derivative of functions that choose: the largest, or one or the other."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from esegeta.explain.backprop.calls import Call
from esegeta.explain.backprop.lift_choices import (
    WhereThatJumps,
    choice_slopes,
    larger_slopes,
    peak_slopes,
    peaked,
)
from esegeta.explain.backprop.paired_call import Lifter, PairedCall, is_choice

WHERE: tuple[Call, ...] = (torch.where, Tensor.where)
MASKS: tuple[Call, ...] = (torch.masked_fill, Tensor.masked_fill)
"""Of one value or another, by a condition that may have been computed from the image."""


def lift_larger(sign: int) -> Lifter:
    """Return what lifts `torch.max` (or, of sign -1, `torch.min`) and its like."""

    def lifter(pair: PairedCall) -> Any:
        if len(pair.leaves) > 1 and isinstance(pair.leaves[1], Tensor):
            starts, ends = pair.ends_of([0, 1])
            ordered = [(sign * one, sign * other) for one, other in (starts, ends)]
            return pair.sloped([0, 1], larger_slopes(*ordered))
        values = _peak(pair, sign, _axes_of(pair))
        if len(pair.leaves) == 1:
            return values
        result = pair.call.function(*pair.call.args, **pair.call.kwargs)
        return type(result)((values, result[1]))

    return lifter


def lift_peak(sign: int) -> Lifter:
    """Return what lifts `torch.amax` (or, of sign -1, `torch.amin`)."""

    def lifter(pair: PairedCall) -> Tensor:
        return _peak(pair, sign, _axes_of(pair))

    return lifter


def _axes_of(pair: PairedCall) -> list[int] | None:
    """Return the axes that are named in a call, or None for all."""
    given = pair.call.kwargs.get("dim", pair.call.args[1] if len(pair.call.args) > 1 else ())
    return ([given] if isinstance(given, int) else list(given)) or None


def _peak(pair: PairedCall, sign: int, dims: list[int] | None) -> Tensor:
    """Return the largest (or, of sign -1, smallest) values along some axes, or along all."""
    start, end = pair.start(0), pair.leaves[0]
    axes = sorted(dim % end.ndim for dim in (range(end.ndim) if dims is None else dims))
    last = tuple(range(end.ndim - len(axes), end.ndim))
    rows = [tensor.detach().movedim(axes, last) for tensor in (start, end)]
    shape, length = rows[1].shape, math.prod(end.shape[axis] for axis in axes)
    slopes = peak_slopes(*(sign * one.reshape(-1, length) for one in rows))
    slope = slopes.reshape(shape).movedim(last, axes)

    def values(x: Tensor) -> Tensor:
        found = pair.call.function(x, *pair.call.args[1:], **pair.call.kwargs)
        values: Tensor = found if isinstance(found, Tensor) else found[0]
        return values

    return peaked(end, values, slope, axes)


def lift_choice(pair: PairedCall) -> Tensor:
    """Return the result of a choice by a condition."""
    choice = next((place for place, leaf in enumerate(pair.leaves) if is_choice(leaf)), None)
    if choice is None or choice not in pair.moving:
        return pair.plain()
    # torch.where(choice, a, b), a.where(choice, b), b.masked_fill(choice, a)
    others = [place for place in range(len(pair.leaves)) if place != choice]
    if pair.call.function in MASKS:
        others.reverse()
    choices = pair.start(choice), pair.leaves[choice]
    slopes, jumped = choice_slopes(choices, *pair.ends_of(others))
    result = pair.sloped(others, slopes)
    named: Tensor = WhereThatJumps.apply(result) if jumped else result  # type: ignore[no-untyped-call]
    return named
