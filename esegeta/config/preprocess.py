"""The keys of `data.preprocess`: what happens to an image before the network sees it.

Only the shape of what is written is checked here; what the numbers must be, the steps say
themselves (`esegeta.volume`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AllowInfNan,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from esegeta.config.keys import Keys, give_list
from esegeta.errors import or_else, suggest

BLOCK, LIST, WORD = "a-block", "a-list", "a-word"
"""Names of the forms of a value; in the places of errors, the hyphen tells them from keys."""


def _form(value: Any) -> str:
    if isinstance(value, (dict, Keys)):
        return BLOCK
    return LIST if isinstance(value, (list, tuple)) else WORD


class ZScoreKeys(Keys):
    """Over which voxels mean and standard deviation are taken."""

    over: Literal["all", "nonzero", "above_mean", "foreground"] = "all"


class CtKeys(Keys):
    """Numbers of the training set, as nnU-Net keeps them."""

    clip: tuple[float, float]
    mean: float
    std: float


class LinearKeys(Keys):
    """Two numbers by which every value is scaled and shifted."""

    scale: float = 1.0
    offset: float = 0.0

    @model_validator(mode="after")
    def _some(self) -> LinearKeys:
        if not self.model_fields_set:
            raise ValueError("give scale, offset, or both; or two bounds, such as rescale: [-1, 1]")
        return self


RULES = (
    "window",
    "percentile",
    "minmax",
    "zscore",
    "ct",
    "rescale",
    "clip",
    "log",
    "none",
)


Bound = Annotated[float, AllowInfNan(True)]
"""One end of a range; a bundle's steps may leave one open. The rule refuses NaN."""


class IntensityKeys(Keys):
    """How grey values are scaled: exactly one rule, for some of the channels, at one place."""

    window: tuple[float, float] | None = None
    percentile: tuple[float, float] | None = None
    zscore: (
        Annotated[
            Annotated[ZScoreKeys, Tag(BLOCK)] | Annotated[Literal[True], Tag(WORD)],
            Discriminator(lambda value: BLOCK if _form(value) == BLOCK else WORD),
        ]
        | None
    ) = None
    minmax: Literal[True] | None = None
    ct: CtKeys | None = None
    rescale: (
        Annotated[
            Annotated[LinearKeys, Tag(BLOCK)] | Annotated[tuple[float, float], Tag(LIST)],
            Discriminator(lambda value: BLOCK if _form(value) == BLOCK else LIST),
        ]
        | None
    ) = None
    clip: tuple[Bound, Bound] | None = None
    log: Literal[True] | None = None
    none: Literal[True] | None = None
    channels: list[int | str] | None = Field(default=None, min_length=1)
    when: Literal["before_resampling", "after_resampling"] = "after_resampling"

    @field_validator("channels", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, (int, str)) else value

    @model_validator(mode="after")
    def _one_rule(self) -> IntensityKeys:
        if len(self.model_fields_set & set(RULES)) != 1:
            raise ValueError(f"give one of {', '.join(RULES)}")
        return self


INTENSITY_WORDS = ("zscore", "minmax", "log", "none")
"""Rules without bounds, which may stand alone."""

NUMBERS_EXAMPLES = {
    "window": "[-250, 400]",
    "percentile": "[0.5, 99.5]",
    "ct": "{clip: [-1000, 1000], mean: 100, std: 75}",
    "rescale": "[-1, 1]",
    "clip": "[0, 1000]",
}
"""Rules with numbers."""


def _intensity_word(value: Any) -> Any:
    if value is None:
        return {"none": True}
    if isinstance(value, str) and value in NUMBERS_EXAMPLES:
        raise ValueError(
            f"{value} needs its {'bounds' if NUMBERS_EXAMPLES[value][0] == '[' else 'numbers'}; "
            f"write {value}: {NUMBERS_EXAMPLES[value]}"
        )
    if isinstance(value, str) and value not in INTENSITY_WORDS:
        words = (*INTENSITY_WORDS, *NUMBERS_EXAMPLES)
        raise ValueError(f'"{value}" is not known; {suggest(value, words)}')
    return {value: True} if isinstance(value, str) else value


OneStep = Annotated[IntensityKeys, BeforeValidator(_intensity_word)]


class CropKeys(Keys):
    """The box of the foreground."""

    above: float | None = None
    margin: int = Field(default=0, ge=0)
    when: Literal["before_resampling", "after_resampling"] = "before_resampling"


def _crop_word(value: Any) -> Any:
    if isinstance(value, (dict, Keys)):
        return value
    if value == "foreground":
        return {}
    raise ValueError(
        f'"{value}" is not known; '
        + or_else(suggest(value, ["foreground"]), "give a block such as {above: 0, margin: 2}")
    )


class CropOrPadKeys(Keys):
    """A size about the centre."""

    size: Annotated[tuple[int, ...], give_list("[96, 96, 96]")]
    value: float = 0.0
    when: Literal["before_intensity", "after_intensity"] = "after_intensity"

    @field_validator("size")
    @classmethod
    def _some_voxels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value) < 1:
            raise ValueError("give two or three lengths of 1 or more")
        return value


def _size_alone(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return {"size": value}
    if not isinstance(value, (dict, Keys)):
        raise ValueError(
            "give a list with one length per axis, such as [96, 96, 96], or a block such as "
            "{size: [96, 96, 96], value: -1}"
        )
    return value


class PreprocessKeys(Keys):
    """What happens to an image before the network sees it."""

    orientation: str | None = None
    transpose: Annotated[tuple[int, ...], give_list("[2, 1, 0]")] | None = None
    crop: Annotated[CropKeys, BeforeValidator(_crop_word)] | None = None
    spacing_mm: Annotated[tuple[float | None, ...], give_list("[3, 3, 3]")] | None = None
    order: Literal[0, 1, 3] = 1
    separate_axis: Literal["auto", True, False] = False
    crop_or_pad: Annotated[CropOrPadKeys, BeforeValidator(_size_alone)] | None = None
    intensity: Annotated[
        Annotated[OneStep, Tag(BLOCK)] | Annotated[list[OneStep], Tag(LIST)],
        Discriminator(lambda value: LIST if _form(value) == LIST else BLOCK),
    ] = IntensityKeys(none=True)

    @field_validator("spacing_mm")
    @classmethod
    def _spacing_above_zero(
        cls, value: tuple[float | None, ...] | None
    ) -> tuple[float | None, ...] | None:
        given = [length for length in value or () if length is not None]
        if value is not None and (len(value) not in (2, 3) or min(given, default=1) <= 0):
            raise ValueError("give two or three lengths above zero")
        return value

    @field_validator("transpose")
    @classmethod
    def _each_axis_once(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and sorted(value) not in ([0, 1], [0, 1, 2]):
            raise ValueError("name each axis once, counted from 0, such as [2, 1, 0]")
        return value

    @model_validator(mode="after")
    def _something_to_resample_to(self) -> PreprocessKeys:
        for key in ("order", "separate_axis"):
            if self.spacing_mm is None and key in self.model_fields_set:
                raise ValueError(f"{key} says how to resample; give spacing_mm to resample to")
        return self
