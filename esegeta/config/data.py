"""The keys of `data`: cases, how their files are read, and what is done before the network."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.keys import ChannelName, Keys, Name, give_list
from esegeta.config.preprocess import PreprocessKeys
from esegeta.volume import Layout

Length = Annotated[float, Field(gt=0)]
Spacing = Annotated[
    tuple[Length, Length] | tuple[Length, Length, Length], give_list("[0.5, 0.5, 2.0]")
]


def _list_of_words(value: Any) -> Any:
    """Take numbers as text: a session `01` is not a number, but YAML reads `1` as one."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return (str(value),)
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(_list_of_words), Field(min_length=1)]


class CaseKeys(Keys):
    """The files of one patient."""

    name: Name | None = None
    image: str | list[str]
    label: str | None = None
    expected: str | None = None
    spacing_mm: Spacing | None = None
    series: Words | None = None

    @field_validator("image")
    @classmethod
    def _some_image(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("no image is named")
        return value

    @model_validator(mode="after")
    def _series_fit(self) -> CaseKeys:
        images = 1 if isinstance(self.image, str) else len(self.image)
        if self.series is not None and images > 1 and len(self.series) not in (1, images):
            raise ValueError(
                f"{len(self.series)} series for {images} images; give one, or {images}"
            )
        return self


class BidsKeys(Keys):
    """Which images of a BIDS folder are cases.

    Args:
        suffix: suffix such as T1w; several are the channels of one case, in this order.
        datatype: folder such as anat; by default any.
        entities: entities that names must hold, such as {ses: 01, acq: ce}.
        label: suffix of label maps, such as dseg, in the folder or its `derivatives`.
    """

    suffix: Words
    datatype: str | None = None
    entities: dict[str, str | int] = Field(default_factory=dict)
    label: str | None = None


class DataKeys(Keys):
    """The cases and their preprocessing."""

    cases: str | list[CaseKeys | str]
    bids: BidsKeys | None = None
    preprocess: PreprocessKeys = PreprocessKeys()
    nan: Literal["refuse", "zero"] = "refuse"
    picture_axes: Literal["yx", "xy"] = "yx"
    channels: list[ChannelName] = Field(default_factory=list)
    channels_axis: int | None = Field(default=None, ge=0, le=3)
    align: Literal["first"] | None = None
    series: str | None = None
    max_voxels: int | None = Field(default=None, ge=1)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f'two channels have the name "{name}"')
        return value

    @model_validator(mode="after")
    def _bids_of_a_folder(self) -> DataKeys:
        if self.bids is not None and not isinstance(self.cases, str):
            raise ValueError("`bids` belongs to a folder: cases: my_dataset")
        return self

    @property
    def layout(self) -> Layout:
        """What the config says about the arrays in all files."""
        return Layout(self.channels_axis)

    def reading_parts(self) -> dict[str, Any]:
        """Return what decides how files are read, as plain values."""
        return {
            "nan": self.nan,
            "picture_axes": self.picture_axes,
            "channels": self.channels,
            "channels_axis": self.channels_axis,
            "align": self.align,
        }
