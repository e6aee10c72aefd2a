"""Multipliers of functions of two tensors, value by value, and of the largest of several values.

Each multiplier is such that together they account for the change of the result exactly, also where
one value at the baseline is nearly zero or where another value is chosen than at the image:

    a / b           (log b - log b') / (b - b') for a, the mean gradient on the line; the rest for b
    max(a, b)       the part of the line on which each is the larger
    max of several  the change goes to where the image's maximum is, if that is the larger, else to
                    where the baseline's was, as in max pooling
    c ? a : b       each in proportion to its own change, where the choice moved and did not jump
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esegeta.explain.backprop.lift_rules import FLAT

STILL = 1e-6
"""A denominator that changes by a smaller part of itself does not move."""

SlopePair = tuple[Tensor, Tensor]
"""Multipliers of two tensors, for each value of the result."""


def sloped_each(
    function: Callable[..., Tensor], tensors: Sequence[Tensor], slopes: Sequence[Tensor]
) -> Tensor:
    """Return a function of tensors, whose gradients by them have these slopes, value by value."""
    result: Tensor = _SlopedEach.apply(function, tuple(slopes), *tensors)  # type: ignore[no-untyped-call]
    return result


def quotient_slopes(starts: SlopePair, ends: SlopePair) -> SlopePair:
    """Return multipliers of a and b in `a / b`, between the baseline and the image.

    Where b was nearly zero and so was a, as the deviation and the contrast of an image without
    any, b is held at the image: 1 / b of the baseline would be an epsilon's.
    """
    a0, b0, a1, b1 = _doubles(*starts, *ends)
    step = b1 - b0
    safe = torch.where(step == 0, 1.0, step)
    by_a = torch.where(step.abs() <= STILL * b1.abs(), 1 / b1, (b1 / b0).log() / safe)
    by_a = torch.where(_is_flat(b0, b1) & _is_flat(a0, a1) | (b0 * b1 <= 0), 1 / b1, by_a)
    by_b = torch.where(
        step.abs() <= STILL * b1.abs(),
        -(a0 + a1) / 2 / b1.square(),
        (a1 / b1 - a0 / b0 - by_a * (a1 - a0)) / safe,
    )
    return by_a, by_b


def product_slopes(starts: SlopePair, ends: SlopePair) -> SlopePair | None:
    """Return multipliers of a and b in `a b`, where one is flat and the other is not.

    A norm written out is such a product: of the contrast, nothing at the baseline, and of one over
    the deviation, which is an epsilon's there. The second is held at the image. None where no
    value is so; the middle of the line does it then.
    """
    a0, b0, a1, b1 = _doubles(*starts, *ends)
    hold_b = _is_flat(a0, a1) & _is_flat(b1, b0)
    hold_a = _is_flat(b0, b1) & _is_flat(a1, a0) & ~hold_b
    if not bool((hold_a | hold_b).any()):
        return None
    by_a = torch.where(hold_b, b1, torch.where(hold_a, b0, (b0 + b1) / 2))
    by_b = torch.where(hold_b, a0, torch.where(hold_a, a1, (a0 + a1) / 2))
    return by_a, by_b


def larger_slopes(starts: SlopePair, ends: SlopePair) -> SlopePair:
    """Return multipliers of a and b in `max(a, b)`: the parts of the line on which each is it."""
    a0, b0, a1, b1 = _doubles(*starts, *ends)
    before, after = a0 - b0, a1 - b1
    crossing = before / torch.where(before == after, 1.0, before - after)
    part = torch.where(before > 0, crossing, 1 - crossing)
    by_a = torch.where(before * after < 0, part, ((before + after).sign() + 1) / 2)
    return by_a, 1 - by_a


def choice_slopes(
    choices: tuple[Tensor, Tensor], starts: SlopePair, ends: SlopePair
) -> tuple[SlopePair, bool]:
    """Return multipliers of a and b in `choice ? a : b`, and whether the result jumped anywhere.

    Where the choice moved from b to a, `a - b'` is shared between the changes of a and b, by their
    squares: for two slopes of one value it is the secant. A result that changes by more than both
    together has jumped: there each keeps its gradient.

    Args:
        choices: the choice at the baseline and at the image.
        starts: a and b at the baseline.
        ends: a and b at the image.
    """
    was, now = choices
    a0, b0, a1, b1 = _doubles(*starts, *ends)
    da, db = (torch.where(one == other, 0.0, other - one) for one, other in ((a0, a1), (b0, b1)))
    change = torch.where(now, a1, b1) - torch.where(was, a0, b0)
    moved = was != now
    jumped = moved & ~(change.abs() <= (da.abs() + db.abs()) * (1 + STILL))
    shared = moved & ~jumped
    size = da.square() + db.square()
    ratio = torch.where(shared, change, 0.0) / torch.where(size > 0, size, 1.0)
    kept = now.to(ratio)
    by_a, by_b = (
        torch.where(shared, one * ratio, kind) for one, kind in ((da, kept), (db, 1 - kept))
    )
    return (by_a, by_b), bool((jumped & (change != 0)).any())


def peak_slopes(start: Tensor, end: Tensor) -> Tensor:
    """Return the multipliers `R N` of each row's values in its maximum.

    Args:
        start: rows at the baseline, `R N`.
        end: rows at the image.
    """
    low, high = start.double(), end.double()
    before, after = low.argmax(dim=1, keepdim=True), high.argmax(dim=1, keepdim=True)
    rise = high.gather(1, after) - low.gather(1, before)
    place = torch.where(rise >= 0, after, before)
    step = (high - low).gather(1, place)
    slope = torch.where(step == 0, 1.0, rise / torch.where(step == 0, 1.0, step))
    return torch.zeros_like(high).scatter_(1, place, slope).to(end.dtype)


def peaked(
    end: Tensor, function: Callable[[Tensor], Tensor], slopes: Tensor, axes: Sequence[int]
) -> Tensor:
    """Return maxima over some axes, whose gradient by the values has these slopes.

    Args:
        end: the values.
        function: returns their maxima; the axes are gone, or of length one.
        slopes: multipliers of the values.
        axes: the axes.
    """
    result: Tensor = _Peaked.apply(end, function, slopes, tuple(axes))  # type: ignore[no-untyped-call]
    return result


class WhereThatJumps(torch.autograd.Function):
    """Hands on a result of `torch.where`, to be named among the functions without a rule."""

    @staticmethod
    def forward(ctx: Any, result: Tensor) -> Tensor:
        """Return the result."""
        return result.view_as(result)

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> Tensor:
        """Return the gradient."""
        return arriving


class _SlopedEach(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Tensor], slopes: tuple[Tensor, ...], *tensors: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*(slope.to(tensors[0].dtype) for slope in slopes))
        ctx.shapes = [tensor.shape for tensor in tensors]
        output = function(*tensors)
        return output.data if output._is_view() else output

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Any, ...]:
        pairs = zip(ctx.saved_tensors, ctx.shapes, strict=True)
        # A tensor that was broadcast gets what all of its copies got.
        return None, None, *((arriving * slope).sum_to_size(shape) for slope, shape in pairs)


class _Peaked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        end: Tensor,
        function: Callable[[Tensor], Tensor],
        slopes: Tensor,
        axes: tuple[int, ...],
    ) -> Tensor:
        ctx.save_for_backward(slopes)
        ctx.around = [1 if axis in axes else side for axis, side in enumerate(end.shape)]
        return function(end)

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Any, ...]:
        (slopes,) = ctx.saved_tensors
        return arriving.reshape(ctx.around) * slopes, None, None, None


def _doubles(*tensors: Tensor) -> tuple[Tensor, ...]:
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return tuple(tensor.double().expand(shape) for tensor in tensors)


def _is_flat(before: Tensor, after: Tensor) -> Tensor:
    return before.square() <= FLAT * after.square()
