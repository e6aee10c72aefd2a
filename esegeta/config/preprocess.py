"""The keys of `data.preprocess`: what happens to an image before the network sees it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, field_validator, model_validator

from esegeta.config.keys import Keys, give_list
from esegeta.errors import suggest


class IntensityKeys(Keys):
    """How grey values are scaled; exactly one rule."""

    window: tuple[float, float] | None = None
    percentile: tuple[float, float] | None = None
    zscore: Literal[True] | None = None
    minmax: Literal[True] | None = None
    none: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> IntensityKeys:
        if len(self.model_fields_set) != 1:
            raise ValueError("give one of window, percentile, zscore, minmax, none")
        return self


INTENSITY_WORDS = ("zscore", "minmax", "none")
"""Rules without bounds, which may stand alone."""

BOUNDS_EXAMPLES = {"window": "[-250, 400]", "percentile": "[0.5, 99.5]"}
"""Rules with bounds."""


def _intensity_word(value: Any) -> Any:
    if value is None:
        return {"none": True}
    if isinstance(value, str) and value in BOUNDS_EXAMPLES:
        raise ValueError(f"{value} needs its bounds; write {value}: {BOUNDS_EXAMPLES[value]}")
    if isinstance(value, str) and value not in INTENSITY_WORDS:
        words = (*INTENSITY_WORDS, *BOUNDS_EXAMPLES)
        raise ValueError(f'"{value}" is not known; {suggest(value, words)}')
    return {value: True} if isinstance(value, str) else value


class PreprocessKeys(Keys):
    """What happens to an image before the network sees it."""

    orientation: str | None = None
    spacing_mm: Annotated[tuple[float, ...], give_list("[3, 3, 3]")] | None = None
    intensity: Annotated[IntensityKeys, BeforeValidator(_intensity_word)] = IntensityKeys(none=True)

    @field_validator("spacing_mm")
    @classmethod
    def _spacing_above_zero(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) not in (2, 3) or min(value) <= 0):
            raise ValueError("give two or three lengths above zero")
        return value
