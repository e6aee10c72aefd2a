"""The keys of `features`: which pictures are made, of what, in which numbers, held back by what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.dissection import OnOrOff
from esegeta.config.keys import Keys, TargetName, give_list

Size = Annotated[tuple[int, ...], give_list("[48, 48, 48]")]
KINDS = ("layer", "label", "combine")
"""Keys that say what an objective is; each has one of them."""


class FeatureObjectiveKeys(Keys):
    """What a picture is to have much of: a unit, layer, direction or label, or sums of these.

    A direction is numbers, one a unit, or a file; `concept` is whose vector in the layer it is, of
    the file that `esegeta concepts` leaves.
    """

    name: TargetName | None = None
    layer: str | None = None
    unit: int | None = Field(default=None, ge=0)
    direction: list[float] | str | None = None
    concept: str | None = None
    label: str | int | None = None
    at: Literal["mean", "centre"] | tuple[int, ...] = "mean"
    combine: dict[str, float] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> FeatureObjectiveKeys:
        given = [key for key in KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            found = ", ".join(given) or "none of them"
            raise ValueError(f"give one of {', '.join(KINDS)}; this has {found}")
        for key in ("unit", "direction"):
            if getattr(self, key) is not None and self.layer is None:
                raise ValueError(f"`{key}` needs `layer`: the name of a layer")
        if self.unit is not None and self.direction is not None:
            raise ValueError("give `unit` or `direction`, not both")
        if self.concept is not None and not isinstance(self.direction, str):
            raise ValueError("`concept` names a vector in a file, so `direction` must be that file")
        is_one_map = self.label is not None or self.unit is not None or self.direction is not None
        if "at" in self.model_fields_set and not is_one_map:
            raise ValueError("`at` belongs to a unit, a direction or a label")
        if isinstance(self.at, tuple) and len(self.at) not in (2, 3):
            raise ValueError("at: give `mean`, `centre`, or one index per axis, such as [3, 3, 3]")
        if isinstance(self.direction, list) and not any(self.direction):
            raise ValueError("direction: must not be all zero")
        if self.combine is not None and not self.combine:
            raise ValueError("combine names no objective; write combine: {NAME: COEFFICIENT}")
        if self.combine is not None and not any(self.combine.values()):
            raise ValueError("combine: all coefficients are 0, so there is nothing to maximise")
        return self

    @property
    def shown_name(self) -> str:
        """The name; where none is given, the label, or the layer and unit."""
        if self.name is not None:
            return self.name
        if self.label is not None:
            return str(self.label)
        if self.combine is not None:
            return "combined"
        if self.direction is not None:
            return f"{self.layer}-{self.concept or 'direction'}"
        return str(self.layer) if self.unit is None else f"{self.layer}-{self.unit}"


class BlurKeys(Keys):
    """Smoothing of the picture itself every few steps."""

    sigma_mm: float = Field(gt=0)
    every: int = Field(default=4, ge=1)


class AlphaKeys(Keys):
    """The alpha norm, which holds back large values alone."""

    power: float = Field(default=6.0, ge=1)
    weight: float = Field(default=0.1, gt=0)


class ExpertKeys(Keys):
    """What learns how likely small neighbourhoods of the cases are."""

    kind: Literal["mixture", "denoiser"] = "mixture"
    patch: int = Field(default=6, ge=2)
    axes: int = Field(default=48, ge=1)
    components: int = Field(default=16, ge=1)
    samples: int = Field(default=8000, ge=10)
    sigma: float = Field(default=0.3, gt=0)
    iterations: int = Field(default=300, ge=1)

    @model_validator(mode="after")
    def _of_kind(self) -> ExpertKeys:
        own = {"mixture": ("patch", "axes", "components", "samples"), "denoiser": NETWORK_KEYS}
        _refuse_others(self, self.kind, own)
        return self


NETWORK_KEYS = ("sigma", "iterations")


class GeneratorKeys(Keys):
    """What makes pictures from codes."""

    kind: Literal["pca", "vae"] = "pca"
    codes: int = Field(default=64, ge=1)
    iterations: int = Field(default=400, ge=1)

    @model_validator(mode="after")
    def _of_kind(self) -> GeneratorKeys:
        _refuse_others(self, self.kind, {"vae": ("iterations",)})
        return self


def _refuse_others(keys: Keys, own: str, kinds: dict[str, tuple[str, ...]]) -> None:
    """Refuse keys that belong to another kind than the block's own."""
    for kind, names in kinds.items():
        for name in names:
            if kind != own and name in keys.model_fields_set:
                raise ValueError(f"`{name}` belongs to kind: {kind}, not kind: {own}")


class DiversityKeys(Keys):
    """Several pictures at a time that are to differ in what a layer makes of them."""

    layer: str
    weight: float = Field(default=1.0, gt=0)
    images: int = Field(default=4, ge=2)


class DreamKeys(Keys):
    """DeepDream on a case, coarse to fine."""

    layer: str
    case: str | None = None
    octaves: int = Field(default=3, ge=1)
    ratio: float = Field(default=1.4, gt=1)
    steps: int = Field(default=10, ge=1)
    rate: float = Field(default=0.05, gt=0)


COMPARED = ("simple_mean", "simple_class_mean", "density", "code")
"""The four classical ways of activation maximisation, in the order of the figure."""


def _which_compared(value: Any) -> Any:
    if isinstance(value, bool):
        return list(COMPARED) if value else []
    return [value] if isinstance(value, str) else value


class FeatureKeys(Keys):
    """Pictures of what units want to see."""

    objectives: list[FeatureObjectiveKeys] = Field(min_length=1)
    size: Size
    parametrisation: Literal["voxels", "multiscale", "fourier", "code"] = "fourier"
    decorrelate: bool = True
    start: Literal["mean", "class_mean", "noise", "case"] = "mean"
    start_label: str | int | None = None
    start_case: str | None = None
    prior: Literal["none", "l2", "tv", "expert", "code"] = "none"
    prior_weight: float = Field(default=1.0, gt=0)
    alpha_norm: Annotated[AlphaKeys | None, OnOrOff] = None
    jitter_voxels: int = Field(default=0, ge=0)
    rotate_degrees: float = Field(default=0.0, ge=0, le=180)
    scale: float = Field(default=0.0, ge=0, lt=1)
    blur: BlurKeys | None = None
    norm: float | None = Field(default=None, gt=0)
    clip: bool = True
    steps: int = Field(default=256, ge=1)
    rate: float = Field(default=0.05, gt=0)
    seeds: int = Field(default=3, ge=1)
    patches: int = Field(default=256, ge=2)
    shown: int = Field(default=3, ge=0)
    compare: Annotated[
        list[Literal["simple_mean", "simple_class_mean", "density", "code"]],
        BeforeValidator(_which_compared),
    ] = Field(default_factory=list)
    expert: ExpertKeys = ExpertKeys()
    generator: GeneratorKeys = GeneratorKeys()
    diversity: DiversityKeys | None = None
    dream: DreamKeys | None = None
    member: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _code_of_a_prior(cls, values: Any) -> Any:
        """The prior of codes implies that the picture is one."""
        if isinstance(values, dict) and values.get("prior") == "code":
            return {"parametrisation": "code", **values}
        return values

    @field_validator("size")
    @classmethod
    def _lengths(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value) < 1:
            raise ValueError("give two or three lengths above zero, such as [48, 48, 48]")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> FeatureKeys:
        given = self.model_fields_set
        if self.prior == "code" and self.parametrisation != "code":
            raise ValueError(
                "prior: code weighs the length of a code, so it needs parametrisation: code, not "
                f"{self.parametrisation}"
            )
        if "prior_weight" in given and self.prior == "none" and not self.compare:
            raise ValueError("`prior_weight` belongs to a prior; give `prior`, or leave it out")
        for key, start in (("start_label", "class_mean"), ("start_case", "case")):
            compared = key == "start_label" and bool(self.compare)
            if key in given and self.start != start and not compared:
                raise ValueError(f"`{key}` belongs to start: {start}, not start: {self.start}")
        if self.norm is not None and "clip" in given and self.clip:
            raise ValueError("pictures with a fixed `norm` are not clipped; leave out clip: true")
        if self.jitter_voxels >= min(self.size):
            raise ValueError(
                f"jitter_voxels: {self.jitter_voxels} shifts a picture of {min(self.size)} voxels "
                f"around more than once; give at most {min(self.size) - 1}"
            )
        if len(set(self.compare)) < len(self.compare):
            raise ValueError("compare: a name is listed twice")
        names = [item.shown_name for item in self.objectives]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two objectives are called "{name}"; give one of them a `name`')
        return self

    @property
    def clips(self) -> bool:
        """Whether pictures keep to the values that the cases have."""
        return self.clip and self.norm is None

    @property
    def needs_expert(self) -> bool:
        """Whether a picture is judged by an expert."""
        return self.prior == "expert" or "density" in self.compare

    @property
    def needs_generator(self) -> bool:
        """Whether a picture is made from a code."""
        return self.parametrisation == "code" or "code" in self.compare
