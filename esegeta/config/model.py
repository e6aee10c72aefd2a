"""The keys of a network: what builds it, its weights, and which of its outputs is meant."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from esegeta.config.keys import Keys

NNUNET_KEYS = ("path", "configuration", "folds", "checkpoint")
"""What names a trained nnU-Net; all else of it stands in its folder."""


class ModelKeys(Keys):
    """The network, its weights, and which of the tensors that it returns the logits are."""

    kind: Literal["monai", "module", "nnunet"]
    path: str | None = None
    configuration: str | None = None
    folds: Literal["all"] | int | list[int | Literal["all"]] | None = None
    checkpoint: str | None = None
    network: str | None = None
    class_path: str | None = Field(default=None, alias="class")
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | list[str] | None = None
    weights_key: str | None = None
    output: int | str | None = None

    @field_validator("output", mode="before")
    @classmethod
    def _index_or_key(cls, value: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
            raise ValueError('give an index such as 0, or a key such as "out" or "aux.0"')
        return value

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

    @field_validator("weights_key")
    @classmethod
    def _some_key(cls, value: str) -> str:
        if not all(value.split(".")):
            raise ValueError("give a key of the file, or a dotted path of them such as ema.state")
        return value

    @model_validator(mode="after")
    def _named(self) -> ModelKeys:
        if self.kind == "monai" and self.network is None:
            raise ValueError("kind: monai needs `network`, a class of monai.networks.nets")
        if self.kind == "module" and self.class_path is None:
            raise ValueError('kind: module needs `class`, as "package.module:Class"')
        if self.kind == "monai" and self.class_path is not None:
            raise ValueError("`class` belongs to kind: module; kind: monai takes `network`")
        for key in NNUNET_KEYS:
            if self.kind != "nnunet" and getattr(self, key) is not None:
                raise ValueError(f"`{key}` belongs to kind: nnunet, not kind: {self.kind}")
        if self.kind == "module" and self.network is not None:
            raise ValueError("`network` belongs to kind: monai; kind: module takes `class`")
        if self.weights_key is not None and self.weights is None:
            raise ValueError("`weights_key` chooses from a file of `weights`, and none is given")
        return self
