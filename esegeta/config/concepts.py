"""The keys of `concepts`: which human concepts a prediction depends on, in which layers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.dissection import ConceptKeys, OnOrOff, layer_names
from esegeta.config.keys import Keys, Name, NoTwins
from esegeta.config.targets import TargetKeys

LEAST_RANDOMS = 30


class DiscoverKeys(Keys):
    """Concepts that layers form by themselves, from supervoxels of all cases."""

    count: int = Field(default=12, ge=2)
    method: Literal["nmf", "kmeans"] = "nmf"
    scales: list[Annotated[int, Field(ge=2)]] = Field(default=[64, 256], min_length=1)
    names: dict[str, Name] = Field(default_factory=dict)

    @field_validator("names")
    @classmethod
    def _distinct_names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value.values():
            if list(value.values()).count(name) > 1:
                raise ValueError(f'two discovered concepts are given the name "{name}"')
        return value


class ShapKeys(Keys):
    """How much of a label its concepts recover together, and what each one's share is."""

    positions: int = Field(default=2000, ge=100)
    samples: int = Field(default=200, ge=1)


class ErrorKeys(Keys):
    """Which concepts tell false components from true ones."""

    components: int = Field(default=16, ge=1)
    permutations: int = Field(default=999, ge=19)


class ConceptsKeys(Keys):
    """Which concepts a target depends on, by layer, tested against random ones."""

    layers: Annotated[str | list[str], BeforeValidator(layer_names)]
    concepts: Annotated[dict[Name, ConceptKeys], NoTwins] = Field(default_factory=dict)
    targets: list[str | TargetKeys] = Field(min_length=1)
    randoms: int = 30
    discover: Annotated[DiscoverKeys | None, OnOrOff] = None
    shap: Annotated[ShapKeys | None, OnOrOff] = None
    errors: Annotated[ErrorKeys | None, OnOrOff] = None
    classifier: Literal["logistic", "svm"] = "logistic"
    pool: Literal["mean", "positions"] = "mean"
    pieces: int = Field(default=8, ge=2)
    piece_mm: float = Field(default=10.0, gt=0)
    counters: Literal["matched", "anywhere"] = "matched"
    permutations: int = Field(default=49, ge=19)
    level: float = Field(default=0.05, gt=0, lt=1)
    slabs: int | None = Field(default=None, ge=2)
    maps: Literal["significant", "all", "none"] = "significant"
    member: int | None = Field(default=None, ge=1)
    memory_mb: float = Field(default=1024, gt=0)

    @field_validator("concepts", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("name each concept, such as {liver: 3}")
        return value

    @field_validator("targets", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, dict)) else value

    @field_validator("targets")
    @classmethod
    def _not_twice(cls, value: list[str | TargetKeys]) -> list[str | TargetKeys]:
        names = [one if isinstance(one, str) else one.shown_name for one in value]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'"{name}" is listed twice')
        return value

    @field_validator("randoms")
    @classmethod
    def _enough_randoms(cls, value: int) -> int:
        if value < LEAST_RANDOMS:
            raise ValueError(
                f"must be at least {LEAST_RANDOMS}: with fewer random concepts the range of "
                "chance is not known"
            )
        return value

    @model_validator(mode="after")
    def _something_to_test(self) -> ConceptsKeys:
        if not self.concepts and self.discover is None:
            raise ValueError("name a concept in `concepts`, or find some with `discover: true`")
        if self.permutations + 1 < 1 / self.level:
            raise ValueError(
                f"permutations: with {self.permutations}, p cannot be below "
                f"{1 / (self.permutations + 1):.2g}, but level is {self.level:g}"
            )
        return self

    def category_of(self, name: str) -> str:
        """Return the category of a concept; empty where it is given none."""
        return self.concepts[name].category
