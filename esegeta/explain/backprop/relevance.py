"""A network run so that relevance, not the gradient, flows back from its logits to its input.

The forward pass is the network's own, to the bit. Each kind of function gets the rule of the
`Rules` that are given: linear operations with the norm behind them, sums, linear maps.
Activations hand relevance on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
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
from esegeta.explain.backprop.carry import Note, carry
from esegeta.explain.backprop.operations import (
    NORMS,
    SIGNATURES,
    CallPlace,
    LinearCall,
    frozen_norm,
    linear_call,
    scaling_call,
)
from esegeta.explain.backprop.pairs import (
    as_it_is,
    carry_contraction,
    carry_einsum,
    carry_elementwise,
    carry_power,
    carry_product,
    carry_quotient,
    carry_sum,
    is_tracked,
)
from esegeta.explain.backprop.rule_set import Rules

MARK = "_esegeta_linear_call"


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
            **dict.fromkeys(kinds.ACTIVATIONS, partial(carry_elementwise, kind="activation")),
            **dict.fromkeys(kinds.GATES, partial(carry_elementwise, kind="gate")),
            **dict.fromkeys(kinds.DIVISORS, partial(carry_elementwise, kind="divisor")),
            **dict.fromkeys(kinds.POWERS, carry_power),
            **dict.fromkeys(kinds.PRODUCTS, carry_product),
            **dict.fromkeys(kinds.QUOTIENTS, carry_quotient),
            **dict.fromkeys(kinds.CONTRACTIONS, partial(carry_contraction, self.rules)),
            **dict.fromkeys(kinds.LINEAR_MAPS, self._map),
            **dict.fromkeys(kinds.SIZES, self._size),
            torch.einsum: partial(carry_einsum, self.rules),
            F.scaled_dot_product_attention: self._attention,
            F.pad: self._pad,
        }

    def _linear(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call, x = linear_call(func, args, kwargs)
        self.num_linear += 1
        if not x.requires_grad:
            return as_it_is(func, args, kwargs)
        if self.num_linear == 1:  # what comes before it may have made the image anew
            self._images.add(_storage(x))
        call = replace(call, place=self._place(x, self.num_linear - 1))
        output = self._carry_linear(call, x, lambda inputs: call_with(inputs, func, args, kwargs))
        setattr(output, MARK, (call, x, x._version, output._version))
        return output

    def _norm(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        norm, x = frozen_norm(func, args, kwargs)
        if not x.requires_grad:
            return as_it_is(func, args, kwargs)
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

    def _sum(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not any(map(is_tracked, two_of(args, kwargs)[:2])):
            return as_it_is(func, args, kwargs)
        self.num_sums += 1
        return carry_sum(self.rules, self.num_sums - 1, func, args, kwargs)

    def _attention(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The weights of an attention are a gate: relevance goes to the values only."""
        names = ("query", "key", "value")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        query, key, value = (given.pop(name) for name in names)
        if not value.requires_grad:
            return as_it_is(func, args, kwargs)
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
        if not is_tracked(x) or plain:
            return as_it_is(func, args, kwargs)
        pairs = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
        pads = [(0, 0)] * (x.ndim - len(pairs)) + pairs

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return (self.rules.padded(pads, relevance),)

        return carry(lambda inputs: call_with(inputs, func, args, kwargs), spread, Note("map"), [x])

    def _map(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._mapped(func, args, kwargs, Note("map", averages=func in kinds.MEANS))

    def _size(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A vector's norm n, of which x dn/dx are parts that add up to it."""
        return self._mapped(func, args, kwargs, Note("divisor"))

    def _mapped(self, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any], note: Note) -> Any:
        x = first_of(args, kwargs)
        if not is_tracked(x):
            return as_it_is(func, args, kwargs)
        blank, rest = without_first(args, kwargs)

        def compute(inputs: Tensor) -> Tensor:
            output: Tensor = call_with(inputs, func, blank, rest)
            return output

        def spread(kept: Sequence[Tensor], relevance: Tensor) -> Sequence[Tensor]:
            return (self.rules.mapped(compute, kept[0], relevance),)

        return carry(compute, spread, note, [x], [x])


class LayerCarrier(Carrier):
    """One forward pass in which only layers have rules: all else sends the gradient back."""

    def functions(self) -> dict[Call, Interception]:
        """Return no rules: activations and pooling are torch's own."""
        return {}


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
