"""The keys of a network: what builds it, and its weights."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from esegeta.config.keys import Keys


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
