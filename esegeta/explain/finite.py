"""The one rule of all parameters: a number is finite."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from esegeta.errors import ConfigError


class FiniteParameters:
    """Refuses NaN and infinity in every field, before a class checks its fields itself.

    NaN passes each check of a bound, since all comparisons with it are false, and gives a map or
    a figure that looks like any other.
    """

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = cls.__dict__.get("__post_init__")
        if own is not None:
            setattr(cls, "__post_init__", _finite_first(own))  # noqa: B010 - no assignable name

    def __post_init__(self) -> None:
        require_finite(self)


def require_finite(owner: Any) -> None:
    """Refuse a dataclass that holds NaN or infinity, also within a list or a block.

    Raises:
        ConfigError: the dataclass holds one; the message names the field.
    """
    name = getattr(owner, "name", type(owner).__name__)
    for field in fields(owner):
        for place, number in _numbers(getattr(owner, field.name), field.name):
            if not math.isfinite(number):
                raise ConfigError(f"{name}: {place}: {number} is not a finite number")


def _finite_first(own: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(own)
    def check(self: Any) -> None:
        require_finite(self)
        own(self)

    return check


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a value of a field, each with its place."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{place}[{index}]")
    elif is_dataclass(value) and not isinstance(value, (type, FiniteParameters)):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name), f"{place}.{field.name}")
