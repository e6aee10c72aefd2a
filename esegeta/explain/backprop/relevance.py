"""A network run so that relevance, not the gradient, flows back from its logits to its input.

The forward pass is the network's own, to the bit. Each kind of function gets the rule of the
`Rules` that are given: linear operations with the norm behind them, sums, linear maps.
Activations hand relevance on. Of a product of two tensors a gate (sigmoid, softmax, tanh) gets
nothing, and two others half each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esegeta.explain.backprop import functions as kinds
from esegeta.explain.backprop.calls import (
    Call,
    Intercept,
    call_with,
    first_of,
    two_of,
    without_first,
)
from esegeta.explain.backprop.calls import CallRule as Interception
from esegeta.explain.backprop.carry import Note, Spread, carry, is_gate, pass_on
from esegeta.explain.backprop.operations import (
    NORMS,
    SIGNATURES,
    CallPlace,
    LinearCall,
    frozen_norm,
    linear_call,
    scaling_call,
)

MARK = "_esegeta_linear_call"


@dataclass(frozen=True, eq=False)
class SumCall:
    """One call of a sum `w_1 x_1 + w_2 x_2`.

    Args:
        weights: w, not learned: 1, -1, or a scale.
        terms: w x.
        tracked: which terms get relevance; the others are constants.
        place: place of the sum in the network.
    """

    weights: tuple[float, ...]
    terms: tuple[Tensor, ...]
    tracked: tuple[bool, ...]
    place: CallPlace


class Rules(ABC):
    """How relevance is spread, by the kind of function. All are linear in the relevance."""

    @abstractmethod
    def linear(self, call: LinearCall, x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input of a linear operation."""

    @abstractmethod
    def total(self, call: SumCall, relevance: Tensor) -> Sequence[Tensor | None]:
        """Return the relevance of each term of a sum."""

    @abstractmethod
    def mapped(self, function: Callable[[Tensor], Tensor], x: Tensor, relevance: Tensor) -> Tensor:
        """Return the relevance of the input of a linear map without learned weights."""

    def padded(self, pads: Sequence[tuple[int, int]], relevance: Tensor) -> Tensor:
        """Return the relevance of what a function put zeros around.

        What the zeros got is lost, as with a gradient.

        Args:
            pads: zeros before and behind along each axis.
            relevance: relevance of the padded tensor.
        """
        axes = zip(pads, relevance.shape, strict=True)
        return relevance[tuple(slice(low, side - high) for (low, high), side in axes)]


class Carrier:
    """One forward pass under rules.

    Args:
        rules: rules by which relevance is spread.
        crops: the network's input; operations that take it, or a view of it, are the first.
    """

    def __init__(self, rules: Rules, crops: Tensor) -> None:
        self.rules = rules
        self.num_linear = 0
        self.num_sums = 0
        self._crops = _storage(crops)
        self._images = {self._crops}

    def intercept(self) -> Intercept:
        """Return the context to run the forward pass in; the backward pass goes outside."""
        return Intercept({**self.layers(), **self.functions()})

    def layers(self) -> dict[Call, Interception]:
        """Return the rules of linear operations, norms and sums."""
        return {
            **dict.fromkeys(SIGNATURES, self._linear),
            **dict.fromkeys(NORMS, self._norm),
            **dict.fromkeys(kinds.SUMS, self._sum),
        }

    def functions(self) -> dict[Call, Interception]:
        """Return the rules of all other functions."""
        return {
            **dict.fromkeys(kinds.ACTIVATIONS, self._activation),
            **dict.fromkeys(kinds.GATES, self._gate),
            **dict.fromkeys(kinds.PRODUCTS, self._product),
            **dict.fromkeys(kinds.QUOTIENTS, self._quotient),
            **dict.fromkeys(kinds.CONTRACTIONS, self._contraction),
            **dict.fromkeys(kinds.LINEAR_MAPS, self._map),
            torch.einsum: self._einsum,
            F.scaled_dot_product_attention: self._attention,
            F.pad: self._pad,
        }

    def _linear(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call, x = linear_call(func, args, kwargs)
        self.num_linear += 1
        if not x.requires_grad:
            return _as_it_is(func, args, kwargs)
        if self.num_linear == 1:  # what comes before it may have made the image anew
            self._images.add(_storage(x))
        call = replace(call, place=self._place(x, self.num_linear - 1))
        output = self._carry_linear(call, x, lambda inputs: call_with(inputs, func, args, kwargs))
        setattr(output, MARK, (call, x, x._version, output._version))
        return output

    def _norm(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        norm, x = frozen_norm(func, args, kwargs)
        if not x.requires_grad:
            return _as_it_is(func, args, kwargs)
        known = getattr(x, MARK, None)
        if known is not None:
            call, source, *versions = known
            untouched = [source._version, x._version] == versions
            axis = norm.channel_axis
            plain = norm.weight is None and norm.shift is None
            fits = plain or (axis is not None and axis % x.ndim == call.channel_axis % x.ndim)
            if untouched and fits:
                # A place of its own: without the norm the operation may be used as well.
                folded = replace(call.with_norm(norm, x), place=replace(call.place))
                known_output = x.detach()
                return self._carry_linear(
                    folded, source, lambda inputs: call_with(known_output, func, args, kwargs)
                )
        call = replace(scaling_call(norm, x), place=self._place(x))
        return self._carry_linear(call, x, lambda inputs: call_with(inputs, func, args, kwargs))

    def _place(self, x: Tensor, index: int = -1) -> CallPlace:
        storage = _storage(x)
        is_crop = storage == self._crops
        return CallPlace(is_first=storage in self._images, takes_crop=is_crop, index=index)

    def _carry_linear(
        self, call: LinearCall, x: Tensor, compute: Callable[[Tensor], Tensor]
    ) -> Tensor:
        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return (self.rules.linear(call, kept[0], relevance),)

        return carry(compute, spread, Note("linear", call.place), [x], [x])

    def _activation(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _elementwise(func, args, kwargs, Note("activation"))

    def _gate(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _elementwise(func, args, kwargs, Note("gate"))

    def _sum(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right, rest = two_of(args, kwargs)
        tracked = [_tracked(left), _tracked(right)]
        if not any(tracked):
            return _as_it_is(func, args, kwargs)
        weights = list(kinds.SUMS[func])
        weights[int(weights[0] > 0)] *= rest.get("alpha", 1)  # of what is not first by itself
        note = Note("sum", CallPlace(index=self.num_sums))
        self.num_sums += 1
        values = [_value(left, right), _value(right, left)]
        if kinds.is_in_place(func):
            values[0] = values[0].clone()

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
            terms = (weight * value for weight, value in zip(weights, kept, strict=True))
            call = SumCall(tuple(weights), tuple(terms), tuple(tracked), note.place)
            parts = self.rules.total(call, relevance)
            return [part for part, wanted in zip(parts, tracked, strict=True) if wanted]

        return _carry_two(func, (left, right), rest, tracked, spread, note, values)

    def _product(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right, rest = two_of(args, kwargs)
        tracked = [_tracked(left), _tracked(right)]
        if not any(tracked):
            return _as_it_is(func, args, kwargs)
        halves = _halves(left, right) if all(tracked) else (1.0,)

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
            return [half * relevance if half else None for half in halves]

        return _carry_two(func, (left, right), rest, tracked, spread, Note("product"))

    def _quotient(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right, rest = two_of(args, kwargs)
        tracked = [_tracked(left), _tracked(right)]
        if not any(tracked):
            return _as_it_is(func, args, kwargs)

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
            return (relevance, None) if all(tracked) else (relevance,)

        return _carry_two(func, (left, right), rest, tracked, spread, Note("product"))

    def _contraction(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        left, right, rest = two_of(args, kwargs)
        tracked = [_tracked(left), _tracked(right)]
        if not any(tracked):
            return _as_it_is(func, args, kwargs)
        halves = _halves(left, right) if all(tracked) else [float(one) for one in tracked]

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
            first, second = kept
            by_left = (lambda x: func(x, second, **rest), first)
            by_right = (lambda x: func(first, x, **rest), second)
            parts = [
                self.rules.mapped(*which, half * relevance) if half else None
                for which, half in zip((by_left, by_right), halves, strict=True)
            ]
            return [part for part, wanted in zip(parts, tracked, strict=True) if wanted]

        note = Note("product")
        return _carry_two(func, (left, right), rest, tracked, spread, note, (left, right))

    def _einsum(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        equation, *operands = args
        if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
            operands = list(operands[0])
        if len(operands) != 2:
            return _as_it_is(func, args, kwargs)
        return self._contraction(
            lambda left, right: func(equation, left, right), tuple(operands), {}
        )

    def _attention(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The weights of an attention are a gate: relevance goes to the values only."""
        names = ("query", "key", "value")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        query, key, value = (given.pop(name) for name in names)
        if not value.requires_grad:
            return _as_it_is(func, args, kwargs)
        rest = (*args[3:],)

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor | None]:
            by_value = lambda x: func(kept[0], kept[1], x, *rest, **given)  # noqa: E731
            return (self.rules.mapped(by_value, kept[2], relevance),)

        return carry(
            lambda x: func(query, key, x, *rest, **given),
            spread,
            Note("product"),
            [value],
            [query, key, value],
        )

    def _pad(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("input", "pad", "mode", "value")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        x, widths = given["input"], list(given["pad"])
        plain = given.get("mode", "constant") != "constant" or min(widths, default=0) < 0
        if not _tracked(x) or plain:
            return _as_it_is(func, args, kwargs)
        pairs = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
        pads = [(0, 0)] * (x.ndim - len(pairs)) + pairs

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return (self.rules.padded(pads, relevance),)

        return carry(lambda inputs: call_with(inputs, func, args, kwargs), spread, Note("map"), [x])

    def _map(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x = first_of(args, kwargs)
        if not _tracked(x):
            return _as_it_is(func, args, kwargs)
        blank, rest = without_first(args, kwargs)

        def compute(inputs: Tensor) -> Tensor:
            output: Tensor = call_with(inputs, func, blank, rest)
            return output

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return (self.rules.mapped(compute, kept[0], relevance),)

        return carry(compute, spread, Note("map"), [x], [x])


class LayerCarrier(Carrier):
    """One forward pass in which only layers have rules: all else sends the gradient back."""

    def functions(self) -> dict[Call, Interception]:
        """Return no rules: activations and pooling are torch's own."""
        return {}


def _elementwise(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], note: Note) -> Any:
    x = first_of(args, kwargs)
    if not _tracked(x):
        return _as_it_is(func, args, kwargs)
    return carry(lambda inputs: call_with(inputs, func, args, kwargs), pass_on, note, [x])


def _carry_two(
    func: Call,
    operands: tuple[Any, Any],
    rest: dict[str, Any],
    tracked: Sequence[bool],
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


def _halves(left: Tensor, right: Tensor) -> tuple[float, float]:
    """Return what each factor of a product gets: a gate nothing, others half each."""
    gates = is_gate(left), is_gate(right)
    if gates[0] == gates[1]:
        return 0.5, 0.5
    return (0.0, 1.0) if gates[0] else (1.0, 0.0)


def _as_it_is(func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


def _tracked(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _value(operand: Any, like: Any) -> Tensor:
    if isinstance(operand, Tensor):
        return operand
    return torch.tensor(float(operand), device=like.device)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
