"""What is asked by a click: which label, by which method, about what, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from esegeta.errors import ConfigError, suggest

About = Literal["voxel", "component", "error"]

AS_PREDICTED = ""
"""Stands for the label that is predicted at the voxel."""


@dataclass(frozen=True)
class Question:
    """One click.

    Args:
        label: name of a label; `AS_PREDICTED` for the one predicted at the voxel.
        method: name of a method.
        about: `voxel`, or the connected part of the prediction or of its errors that holds it.
        place_mm: RAS position of the voxel.
    """

    label: str
    method: str
    about: About
    place_mm: tuple[float, float, float]

    @classmethod
    def of(cls, values: object, labels: Sequence[str], methods: Sequence[str]) -> Question:
        """Check what a page has sent, which may be anything.

        Args:
            values: decoded JSON.
            labels: names of the labels that may be asked for.
            methods: names of the methods that may be asked for.

        Raises:
            ConfigError: it is not a question; says what is wrong.
        """
        if not isinstance(values, Mapping):
            raise ConfigError("a question is an object with label, method, about and place_mm")
        foreign = [str(key) for key in values if key not in FIELDS]
        if foreign:
            raise ConfigError(f"{foreign[0]}: unknown key", hint=suggest(foreign[0], FIELDS))
        label = _one_of("label", values.get("label", AS_PREDICTED), (AS_PREDICTED, *labels))
        method = _one_of("method", values.get("method"), methods)
        about = _one_of("about", values.get("about", "voxel"), get_args(About))
        return cls(label, method, _ABOUTS[about], _place(values.get("place_mm")))


FIELDS = ("label", "method", "about", "place_mm")
_ABOUTS: Mapping[str, About] = {word: word for word in get_args(About)}


def _one_of(key: str, value: object, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f'{key}: "{value}" is not known', hint=suggest(str(value), known))
    return value


def _place(value: Any) -> tuple[float, float, float]:
    is_place = isinstance(value, list) and len(value) == 3
    numbers = [
        float(one)
        for one in (value if is_place else ())
        if isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one)
    ]
    if len(numbers) != 3:
        raise ConfigError("place_mm: must be three numbers, the RAS position in mm")
    return numbers[0], numbers[1], numbers[2]
