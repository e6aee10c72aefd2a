"""Arguments of an intercepted call: they come by place or by name, as the caller wrote them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from esegeta.explain.backprop.intercept import Call


def first_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the first argument."""
    return args[0] if args else kwargs["input"]


def without_first(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with nothing in the place of the first, so that a rule may keep them."""
    return ((None, *args[1:]), kwargs) if args else ((), {**kwargs, "input": None})


def call_with(x: Tensor, func: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function with another first argument."""
    return func(x, *args[1:], **kwargs) if args else func(**{**kwargs, "input": x})


def two_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Return the first two arguments, and the rest by name."""
    rest = dict(kwargs)
    given = list(args)
    for name in ("input", "other", "mat2"):
        if len(given) < 2 and name in rest:
            given.append(rest.pop(name))
    return given[0], given[1], rest
