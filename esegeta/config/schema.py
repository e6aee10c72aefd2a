"""The keys of a config, their types and defaults; unknown keys are refused."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from esegeta.errors import suggest

NAME_PATTERN = re.compile(r"^[^\s/\\:*?\"<>|.][^/\\:*?\"<>|]*$")


def _check_name(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and not NAME_PATTERN.match(value):
        raise ValueError(f'"{value}" cannot be part of a file name; use letters, digits, - and .')
    return value


Name = Annotated[str, BeforeValidator(_check_name)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Keys(BaseModel):
    """A block of keys; immutable, and closed to keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ModelKeys(Keys):
    """The network and its weights."""

    kind: Literal["monai", "module"]
    network: str | None = None
    class_path: str | None = Field(default=None, alias="class")
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None

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


def _intensity_word(value: Any) -> Any:
    if value is None:
        return {"none": True}
    if isinstance(value, str) and value not in INTENSITY_WORDS:
        raise ValueError(f'"{value}" is not known; {suggest(value, INTENSITY_WORDS)}')
    return {value: True} if isinstance(value, str) else value


class PreprocessKeys(Keys):
    """What happens to an image before the network sees it."""

    orientation: str | None = None
    spacing_mm: tuple[float, ...] | None = None
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
    channels: list[Name] = Field(default_factory=list)

    @field_validator("channels")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        for name in value:
            if value.count(name) > 1:
                raise ValueError(f'two channels have the name "{name}"')
        return value


class InferenceKeys(Keys):
    """How volumes are cut into windows."""

    window: tuple[int, ...]
    overlap: Fraction | tuple[Fraction, ...] = 0.5
    blend: Literal["gaussian", "constant"] = "gaussian"
    batch_size: int = Field(default=1, ge=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    slice_axis: Literal[0, 1, 2] = 2

    @field_validator("window")
    @classmethod
    def _window_above_zero(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value, default=0) < 1:
            raise ValueError("give two or three lengths above zero")
        return value


Over = Literal[
    "predicted",
    "label",
    "false_positive",
    "false_negative",
    "component",
    "boundary",
    "roi",
    "box",
    "point",
    "otsu",
    "all",
]

REGION_KEYS = {
    "component": "component",
    "min_volume_ml": "component",
    "within_mm": "boundary",
    "roi": "roi",
    "box": "box",
    "point": "point",
}
"""Keys that belong to one region only."""


class TargetKeys(Keys):
    """What of the prediction is explained, over which voxels, reduced how."""

    name: Name | None = None
    label: str | int | None = None
    of: Literal[
        "logit",
        "probability",
        "margin",
        "log_probability",
        "entropy",
        "dice",
        "volume_ml",
    ] = "logit"
    over: Over = "predicted"
    reduce: Literal["sum", "mean"] = "sum"
    mask: Literal["frozen", "live"] = "frozen"
    component: Literal["largest", "each"] | Annotated[int, Field(ge=1)] = "largest"
    min_volume_ml: float = Field(default=0.0, ge=0)
    within_mm: float = Field(default=3.0, gt=0)
    roi: str | None = None
    box: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    point: tuple[float, ...] | None = None
    reference: Literal["label", "predicted"] = "label"
    combine: dict[str, float] | None = None

    @model_validator(mode="before")
    @classmethod
    def _infer_over(cls, values: Any) -> Any:
        """A key of one region implies that region; whole-map quantities are over all voxels."""
        if not isinstance(values, dict) or "over" in values:
            return values
        implied = [region for key, region in REGION_KEYS.items() if key in values]
        if implied:
            return {**values, "over": implied[0]}
        if values.get("of") in ("dice", "volume_ml", "entropy"):
            return {**values, "over": "all"}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> TargetKeys:
        given = self.model_fields_set
        if self.combine is not None:
            extra = given - {"name", "combine", "over"}
            if extra:
                raise ValueError(f"combine takes no other key: {', '.join(sorted(extra))}")
            if not self.combine:
                raise ValueError("combine names no target; write combine: {NAME: COEFFICIENT}")
            return self
        if self.label is None:
            raise ValueError("`label` is missing: the name or integer of a label")
        for key, region in REGION_KEYS.items():
            if key in given and self.over != region:
                raise ValueError(f"`{key}` belongs to over: {region}, not over: {self.over}")
        for region in ("roi", "box", "point"):
            if self.over == region and getattr(self, region) is None:
                raise ValueError(f"over: {region} needs the key `{region}`")
        if self.box is not None and not all(a < b for a, b in zip(*self.box, strict=False)):
            raise ValueError("`box` is [first, one past the last]: each start below its stop")
        if self.mask == "live" and self.over in ("label", "roi", "box", "point", "all"):
            raise ValueError(f"mask: live has no effect over: {self.over}, which never changes")
        if "reference" in given and self.of != "dice":
            raise ValueError("`reference` belongs to of: dice")
        if self.of in ("dice", "volume_ml") and (given & {"reduce", "mask"}):
            raise ValueError(f"of: {self.of} is of the whole map; it has no reduce and no mask")
        if self.component == "each" and self.of in ("dice", "volume_ml"):
            raise ValueError(f"of: {self.of} cannot be split into components")
        return self

    @property
    def shown_name(self) -> str:
        """The name, or the label where none is given."""
        if self.name is not None:
            return self.name
        return str(self.label) if self.label is not None else "combined"


class Config(Keys):
    """A whole experiment; methods and scores are built by their own tables."""

    version: Literal[1] = 1
    name: Name
    output: str = "results"
    seed: int = Field(default=0, ge=0)
    device: str = "auto"
    model: ModelKeys
    activation: Literal["softmax", "sigmoid"] = "softmax"
    labels: dict[int, str]
    data: DataKeys
    inference: InferenceKeys
    targets: list[TargetKeys] = Field(min_length=1)
    methods: list[Any] = Field(min_length=1)
    scores: list[Any] = Field(default_factory=list)
