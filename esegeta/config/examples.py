"""The keys of `examples`: of what, in which layer, which influence and which surrogate."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.data import CaseKeys
from esegeta.config.keys import Keys
from esegeta.errors import suggest

ExampleOf = Literal["case", "slice", "component", "supervoxel"]
SurrogateWord = Literal["tree", "linear"]


def _text_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _distinct(value: list[Any]) -> list[Any]:
    for item in value:
        if value.count(item) > 1:
            raise ValueError(f"{item} is listed twice")
    return value


class TrainingKeys(Keys):
    """What the network was trained on; a case may be cut into slabs, each an example by itself."""

    cases: str | list[CaseKeys | str]
    slabs: int = Field(default=1, ge=1)


class TestKeys(Keys):
    """Of which targets of the config's cases the influence is asked."""

    targets: Annotated[list[str], BeforeValidator(_text_as_list)] = Field(min_length=1)

    @field_validator("targets")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        return _distinct(value)


class LeaveOneOutKeys(Keys):
    """Networks trained without each example, by the recipe of `retrain`."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1], min_length=1)
    checkpoints: int = Field(default=4, ge=1)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        return _distinct(value)


def _on_or_off(value: Any) -> Any:
    if isinstance(value, bool):
        return {} if value else None
    return value


class InfluenceKeys(Keys):
    """Which training examples moved which targets, at which checkpoints of the training."""

    checkpoints: Annotated[list[str], BeforeValidator(_text_as_list)] = Field(min_length=1)
    learning_rates: list[Annotated[float, Field(gt=0)]] | None = None
    training: TrainingKeys
    test: TestKeys
    layers: list[str] | None = Field(default=None, min_length=1)
    leave_one_out: Annotated[LeaveOneOutKeys | None, BeforeValidator(_on_or_off)] = None

    @field_validator("checkpoints")
    @classmethod
    def _named(cls, value: list[str]) -> list[str]:
        if "" in value:
            raise ValueError("name a file, or a pattern such as ckpt/*.safetensors")
        return _distinct(value)


def _surrogate_word(value: Any) -> Any:
    value = _on_or_off(value)
    if isinstance(value, str):
        kinds = get_args(SurrogateWord)
        if value not in kinds:
            raise ValueError(f'"{value}" is not known; {suggest(value, kinds)}')
        return {"kind": value}
    return value


class SurrogateKeys(Keys):
    """A readable model of the network, and how well it must predict to be drawn."""

    kind: SurrogateWord = "tree"
    depth: int = Field(default=3, ge=1, le=6)
    least_fidelity: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _depth_of_a_tree(self) -> SurrogateKeys:
        if "depth" in self.model_fields_set and self.kind != "tree":
            raise ValueError(f"`depth` belongs to kind: tree, not kind: {self.kind}")
        return self


class ExamplesKeys(Keys):
    """Which cases, or parts of them, speak for a network."""

    of: ExampleOf = "case"
    layer: str | None = None
    prototypes: int = Field(default=5, ge=1)
    criticisms: int = Field(default=3, ge=0)
    neighbours: int = Field(default=3, ge=1)
    supervoxels: int = Field(default=100, ge=2)
    min_voxels: int = Field(default=8, ge=1)
    influence: InfluenceKeys | None = None
    surrogate: Annotated[SurrogateKeys | None, BeforeValidator(_surrogate_word)] = None

    @field_validator("layer", mode="before")
    @classmethod
    def _is_text(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f'a layer\'s name is text; put it in quotes: "{value}"')
        return value

    @model_validator(mode="after")
    def _something_to_do(self) -> ExamplesKeys:
        if self.layer is None and self.influence is None and self.surrogate is None:
            raise ValueError(
                "there is nothing to do; name a `layer` for prototypes and criticisms, or give "
                "`influence` or `surrogate`"
            )
        if self.layer is None:
            for key in ("prototypes", "criticisms", "neighbours"):
                if key in self.model_fields_set:
                    raise ValueError(f"`{key}` needs a `layer`, whose units items are compared by")
        return self
