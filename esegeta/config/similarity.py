"""The keys of `similarity`: which layers are compared, with which other networks, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from esegeta.config.dissection import layer_names
from esegeta.config.keys import Keys

MethodOfSimilarity = Literal["cka", "cka_rbf", "svcca", "pwcca", "cca", "pca"]


def _listed(value: Any) -> Any:
    """Refuse a lone text where a list belongs; its letters would be taken for the items."""
    return [value] if isinstance(value, str) else value


class SimilarityKeys(Keys):
    """How alike layers, networks and cases are."""

    model_config = ConfigDict(populate_by_name=False)

    layers: Annotated[str | list[str], BeforeValidator(layer_names)] = "all"
    other_configs: Annotated[list[str], BeforeValidator(_listed)] = Field(
        default_factory=list, alias="with"
    )
    methods: Annotated[list[MethodOfSimilarity], BeforeValidator(_listed)] = Field(
        default=["cka", "cka_rbf", "svcca", "pwcca", "cca", "pca"], min_length=1
    )
    samples: int = Field(default=20000, ge=100)
    slabs: int | None = Field(default=None, ge=2)

    @field_validator("methods", "other_configs")
    @classmethod
    def _distinct(cls, value: list[str]) -> list[str]:
        for item in value:
            if not item:
                raise ValueError("an entry is empty")
            if value.count(item) > 1:
                raise ValueError(f"{item} is listed twice")
        return value

    @field_validator("samples", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("give a number of positions, such as 20000")
        return value
