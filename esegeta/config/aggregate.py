"""The keys of `aggregate`: atlases by whose regions every map is summed up."""

from __future__ import annotations

from pydantic import Field, field_validator

from esegeta.config.keys import Keys, LabelInteger, Name
from esegeta.errors import suggest

OWN_LABELS = ("prediction", "label")
"""Atlases that need no file: the predicted labels, and the case's ground truth."""

WHOLE_IMAGE = "image"
"""The name of the whole image as one region, which every table begins with."""


class AggregateKeys(Keys):
    """By which atlases maps are summed up; without any, by channel alone."""

    atlases: dict[Name, str] = Field(default_factory=dict)
    names: dict[Name, dict[LabelInteger, str]] = Field(default_factory=dict)

    @field_validator("atlases")
    @classmethod
    def _not_the_image(cls, value: dict[str, str]) -> dict[str, str]:
        if WHOLE_IMAGE in value:
            raise ValueError(f'"{WHOLE_IMAGE}" stands for the whole image; choose another name')
        return value

    @field_validator("names")
    @classmethod
    def _of_atlases(
        cls, value: dict[str, dict[int, str]], info: object
    ) -> dict[str, dict[int, str]]:
        atlases: dict[str, str] = getattr(info, "data", {}).get("atlases", {})
        for name, regions in value.items():
            if name not in atlases:
                raise ValueError(f'no atlas "{name}"; {suggest(name, atlases)}')
            if atlases[name] in OWN_LABELS:
                raise ValueError(f'atlas "{name}" has the names of `labels`; leave out its own')
            if len(set(regions.values())) < len(regions):
                raise ValueError(f'two regions of atlas "{name}" share a name')
        return value
