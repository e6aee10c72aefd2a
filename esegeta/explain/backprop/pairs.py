"""Relevance of functions of two operands: sums, products, quotients and contractions.

Of a sum each term gets its part. Of a product a gate gets nothing: it says how much of the other
factor goes on, as a sigmoid does, an attention's weights, or, most certainly, one over a deviation.
Two factors of which neither is more of a gate get half each. Of a quotient the numerator gets all.
The mean of what it is subtracted from is a constant, as in a frozen norm: norms that are written
out are torch's own.

What gets nothing is taken out of the graph, so that nobody looks for its rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from esegeta.explain.backprop import functions as kinds
from esegeta.explain.backprop.calls import Call, call_with, first_of, two_of
from esegeta.explain.backprop.carry import (
    GATES,
    CarryKind,
    Note,
    Spread,
    carry,
    gate_of,
    is_mean_of,
    pass_on,
)
from esegeta.explain.backprop.operations import CallPlace
from esegeta.explain.backprop.rule_set import Rules, SumCall

Tracked = list[bool]
"""Which of two operands get relevance."""


def carry_sum(
    rules: Rules, index: int, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Carry a sum of which some term is tracked; `index` counts the sums of a forward pass."""
    left, right, rest = two_of(args, kwargs)
    weights = list(kinds.SUMS[func])
    tracked = _less_means(func, left, right, weights)
    weights[int(weights[0] > 0)] *= rest.get("alpha", 1)  # of what is not first by itself
    note = Note("sum", CallPlace(index=index))
    values = [_value(left, right), _value(right, left)]
    if kinds.is_in_place(func):
        values[0] = values[0].clone()

    def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        terms = (weight * value for weight, value in zip(weights, kept, strict=True))
        call = SumCall(tuple(weights), tuple(terms), (tracked[0], tracked[1]), note.place)
        parts = rules.total(call, relevance)
        return [part for part, wanted in zip(parts, tracked, strict=True) if wanted]

    return _carry_two(func, (left, right), rest, tracked, spread, note, values)


def carry_product(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry a product, value by value."""
    left, right, rest = two_of(args, kwargs)
    tracked = [is_tracked(left), is_tracked(right)]
    if not any(tracked):
        return as_it_is(func, args, kwargs)
    note = Note("product" if all(tracked) else "scale")
    tracked, shares = _less_gates(func, left, right, tracked)

    def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        return [share * relevance if share else None for share in shares]

    return _carry_two(func, (left, right), rest, tracked, spread, note)


def carry_quotient(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry a quotient, value by value; one over something is a divisor."""
    left, right, rest = two_of(args, kwargs)
    tracked = [is_tracked(left), is_tracked(right)]
    if not any(tracked):
        return as_it_is(func, args, kwargs)
    note = Note("divisor")
    if tracked[0]:
        note = Note((gate_of(left) or "product") if tracked[1] else "scale")
        tracked = [True, False]

    def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        return (relevance,)

    return _carry_two(func, (left, right), rest, tracked, spread, note)


def carry_contraction(
    rules: Rules, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Carry a product that sums over an axis."""
    left, right, rest = two_of(args, kwargs)
    tracked = [is_tracked(left), is_tracked(right)]
    if not any(tracked):
        return as_it_is(func, args, kwargs)
    tracked, shares = _less_gates(func, left, right, tracked)

    def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
        first, second = kept
        by_left = (lambda x: func(x, second, **rest), first)
        by_right = (lambda x: func(first, x, **rest), second)
        ways = [way for way, one in zip((by_left, by_right), tracked, strict=True) if one]
        return [
            rules.mapped(*way, share * relevance) if share else None
            for way, share in zip(ways, shares, strict=True)
        ]

    return _carry_two(func, (left, right), rest, tracked, spread, Note("product"), (left, right))


def carry_einsum(rules: Rules, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry a contraction of two tensors that is spelled in letters."""
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    if len(operands) != 2:
        return as_it_is(func, args, kwargs)
    return carry_contraction(
        rules, lambda left, right: func(equation, left, right), tuple(operands), {}
    )


def carry_elementwise(
    func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], kind: CarryKind
) -> Any:
    """Carry a function of one value each, which hands relevance on."""
    x = first_of(args, kwargs)
    if not is_tracked(x):
        return as_it_is(func, args, kwargs)
    return carry(lambda inputs: call_with(inputs, func, args, kwargs), pass_on, Note(kind), [x])


def carry_power(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Carry a power; a negative one is one over something."""
    exponent = kwargs["exponent"] if "exponent" in kwargs else args[1]
    negative = isinstance(exponent, (int, float)) and exponent < 0
    return carry_elementwise(func, args, kwargs, "divisor" if negative else "activation")


def as_it_is(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function without a rule."""
    return func(*args, **kwargs)


def is_tracked(value: Any) -> bool:
    """Tell whether something is a tensor that relevance flows to."""
    return isinstance(value, Tensor) and value.requires_grad


def _less_means(func: Call, left: Any, right: Any, weights: Sequence[float]) -> Tracked:
    """Return which terms of a sum get relevance: no mean of what it is subtracted from."""
    tracked = [is_tracked(left), is_tracked(right)]
    if all(tracked) and weights[0] != weights[1]:
        mean = int(weights[1] < 0)
        pair = (left, right)
        if is_mean_of(pair[mean], pair[1 - mean]) and _may_drop(func, mean):
            tracked[mean] = False
    return tracked


def _less_gates(
    func: Call, left: Any, right: Any, tracked: Tracked
) -> tuple[Tracked, tuple[float, ...]]:
    """Return which factors get relevance, and the share of each of these."""
    if not all(tracked):
        return tracked, (1.0,)
    ranks = [(None, *GATES).index(gate_of(factor)) for factor in (left, right)]
    if ranks[0] == ranks[1]:
        return tracked, (0.5, 0.5)
    gate = int(ranks[1] > ranks[0])
    if _may_drop(func, gate):
        return [place != gate for place in range(2)], (1.0,)
    return tracked, (float(gate), 1.0 - gate)


def _may_drop(func: Call, place: int) -> bool:
    """Tell whether an operand may be taken out of the graph: not what is written over."""
    return place > 0 or not kinds.is_in_place(func)


def _value(operand: Any, like: Any) -> Tensor:
    if isinstance(operand, Tensor):
        return operand
    return torch.tensor(float(operand), device=like.device)


def _carry_two(
    func: Call,
    operands: tuple[Any, Any],
    rest: dict[str, Any],
    tracked: Tracked,
    spread: Spread,
    note: Note,
    kept: Sequence[Tensor] = (),
) -> Tensor:
    """Carry a function of two operands; only the tracked ones get relevance."""

    def compute(*inputs: Tensor) -> Tensor:
        waiting = iter(inputs)
        pairs = zip(operands, tracked, strict=True)
        output: Tensor = func(
            *(next(waiting) if one else operand for operand, one in pairs), **rest
        )
        return output

    inputs = [operand for operand, one in zip(operands, tracked, strict=True) if one]
    return carry(compute, spread, note, inputs, kept)
