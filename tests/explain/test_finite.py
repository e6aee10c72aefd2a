"""No number of any method or score is NaN or infinite, from Python as from a config."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from esegeta.errors import ConfigError
from esegeta.explain import EXPLAINERS, Baseline, Features
from esegeta.score import SCORES
from esegeta.score.removal.replacement import NoisyLinear

BAD = (math.nan, math.inf, -math.inf)


def number_fields(kind: type[Any]) -> Iterator[str]:
    """Yield the fields of a class that may hold a number with a fraction."""
    hints = get_type_hints(kind)
    yield from (item.name for item in fields(kind) if "float" in str(hints[item.name]))


def needed(kind: type[Any]) -> dict[str, Any]:
    """Return something for the fields without a default."""
    return {
        item.name: "model.0"
        for item in fields(kind)
        if item.default is MISSING and item.default_factory is MISSING
    }


def test_every_field_refuses_non_finite_numbers() -> None:
    seen = 0
    for kind in [*EXPLAINERS.values(), *SCORES.values()]:
        for name in number_fields(kind):
            for value in BAD:
                several = "tuple[float" in str(get_type_hints(kind)[name])
                values = {**needed(kind), name: (value,) if several else value}
                place = rf"{name}\S*: {value} is not a finite number"
                with pytest.raises(ConfigError, match=place):
                    kind(**values)
                with pytest.raises((ConfigError, ValidationError), match="finite"):
                    TypeAdapter(kind).validate_python(values)
                seen += 1
    assert seen > 60


def test_nested_blocks_refuse_non_finite_numbers() -> None:
    for value in BAD:
        for build in (
            lambda bad: Baseline("blur", sigma_mm=bad),
            lambda bad: Features("blocks", side_mm=bad),
            lambda bad: NoisyLinear(noise=bad),
        ):
            with pytest.raises(ConfigError, match=f"{value} is not a finite number"):
                build(value)
