"""The keys of a config, block by block."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.dissection import DissectionKeys
from esegeta.config.inference import InferenceKeys
from esegeta.config.keys import ChannelName, Keys, LabelInteger, Name, give_list
from esegeta.config.retrain import RetrainKeys
from esegeta.config.targets import TargetKeys
from esegeta.errors import suggest

OWN_LABELS = ("prediction", "label")
"""Atlases that need no file: the predicted labels, and the case's ground truth."""

WHOLE_IMAGE = "image"
"""The name of the whole image as one region, which every table begins with."""


class AggregateKeys(Keys):
    """The atlases that maps are summed over; without any, only channels."""

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
                raise ValueError(f'atlas "{name}" uses the names of `labels`; leave out its own')
            if len(set(regions.values())) < len(regions):
                raise ValueError(f'two regions of atlas "{name}" share a name')
        return value


class ModelKeys(Keys):
    """The network and its weights."""

    kind: Literal["monai", "module"]
    network: str | None = None
    class_path: str | None = Field(default=None, alias="class")
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | list[str] | None = None

    @field_validator("weights")
    @classmethod
    def _some_weights(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, list) and not value:
            raise ValueError("give the files of an ensemble, or one file")
        return value

    @property
    def weights_files(self) -> list[str]:
        """The file of each network; none where weights are random."""
        return [self.weights] if isinstance(self.weights, str) else self.weights or []

    @model_validator(mode="after")
    def _named(self) -> ModelKeys:
        if self.kind == "monai" and self.network is None:
            raise ValueError("kind: monai needs `network`, a class of monai.networks.nets")
        if self.kind == "module" and self.class_path is None:
            raise ValueError('kind: module needs `class`, as "package.module:Class"')
        if self.kind == "monai" and self.class_path is not None:
            raise ValueError("`class` belongs to kind: module; kind: monai takes `network`")
        if self.kind == "module" and self.network is not None:
            raise ValueError("`network` belongs to kind: monai; kind: module takes `class`")
        return self


class CaseKeys(Keys):
    """The files of one patient."""

    name: Name | None = None
    image: str | list[str]
    label: str | None = None

    @field_validator("image")
    @classmethod
    def _some_image(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("no image is named")
        return value


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


class DataKeys(Keys):
    """The cases and their preprocessing."""

    cases: str | list[CaseKeys | str]
    preprocess: PreprocessKeys = PreprocessKeys()
    nan: Literal["refuse", "zero"] = "refuse"
    channels: list[ChannelName] = Field(default_factory=list)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f'two channels have the name "{name}"')
        return value


class Config(Keys):
    """A whole experiment; methods and scores are built by their own tables."""

    version: Literal[1] = 1
    name: Name
    output: str = "results"
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    model: ModelKeys
    activation: Literal["softmax", "sigmoid"] = "softmax"
    labels: dict[LabelInteger, str]
    data: DataKeys
    inference: InferenceKeys
    targets: list[TargetKeys] = Field(default_factory=list, min_length=1)
    methods: list[Any] = Field(default_factory=list, min_length=1)
    scores: list[Any] = Field(default_factory=list)
    aggregate: AggregateKeys | None = None
    retrain: RetrainKeys | None = None
    dissection: DissectionKeys | None = None

    @property
    def missing_of_run(self) -> list[str]:
        """Blocks that a run needs and that are not given; a dissection needs neither."""
        return [key for key in ("targets", "methods") if not getattr(self, key)]

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_by_integer(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("give the name of each label integer, such as {1: liver}")
        return value

    @field_validator("labels")
    @classmethod
    def _labels_have_channels(cls, value: dict[int, str], info: Any) -> dict[int, str]:
        below = [integer for integer in value if integer < 0]
        if below:
            raise ValueError(f"{below[0]} is not a label integer; it must be 0 or more")
        return value
