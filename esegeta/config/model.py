"""The keys of a network: what builds it, its weights, and which of its outputs is meant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from esegeta.config.keys import Keys

ModelKind = Literal["monai", "module", "torchscript", "export", "bundle", "nnunet"]


@dataclass(frozen=True)
class KindKeys:
    """The keys that a kind of network takes, besides `kind` and `output`.

    Args:
        needs: key without which there is nothing to build.
        takes: keys that it may have as well.
        meaning: meaning of the key that it needs, in words.
    """

    needs: str
    takes: tuple[str, ...]
    meaning: str


KINDS: Mapping[str, KindKeys] = {
    "monai": KindKeys(
        "network", ("args", "weights", "weights_key"), "a class of monai.networks.nets"
    ),
    "module": KindKeys(
        "class", ("args", "weights", "weights_key"), 'as "package.module:Class", or a `path`'
    ),
    "torchscript": KindKeys("path", (), "the file that torch.jit.save wrote"),
    "export": KindKeys("path", (), "the file that torch.export.save wrote"),
    "bundle": KindKeys("path", ("weights", "weights_key"), "the folder of the MONAI bundle"),
    "nnunet": KindKeys(
        "path",
        ("configuration", "folds", "checkpoint", "network", "args", "weights", "weights_key"),
        "the results folder of nnU-Net v2",
    ),
}
PICKLED = KindKeys("path", ("trust",), "the file of the pickled network")
"""Of kind: module with a `path`: a whole network, code and weights, in one pickle."""


class ModelKeys(Keys):
    """The network, its weights, and which of the tensors that it returns the logits are."""

    kind: ModelKind
    configuration: str | None = None
    folds: Literal["all"] | int | list[int | Literal["all"]] | None = None
    checkpoint: str | None = None
    network: str | None = None
    class_path: str | None = Field(default=None, alias="class")
    path: str | None = None
    trust: Literal["pickle"] | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    weights: str | list[str] | None = None
    weights_key: str | None = None
    output: int | str | None = None
    allow_download: Literal[True] | None = None

    @property
    def fetch(self) -> Literal["never", "allowed"]:
        """Whether building the network may open connections."""
        return "allowed" if self.allow_download else "never"

    @property
    def is_pickled(self) -> bool:
        """Whether the network is a pickle with code in it."""
        return self.kind == "module" and self.path is not None

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

    @field_validator("allow_download", mode="before")
    @classmethod
    def _not_allowed(cls, value: Any) -> Any:
        return None if value is False else value

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> ModelKeys:
        kind = PICKLED if self.is_pickled else KINDS[self.kind]
        given = [key for key in _keys_of_kinds() if self._has(key)]
        for key in given:
            if key != kind.needs and key not in kind.takes:
                raise ValueError(self._misplaced(key, kind))
        if kind.needs not in given:
            raise ValueError(f"kind: {self.kind} needs `{kind.needs}`, {kind.meaning}")
        if self.is_pickled and self.trust is None:
            raise ValueError(
                "a pickled network is code, which could do anything when it is loaded, so it was "
                "not loaded; if you trust whoever made the file, write `trust: pickle`, otherwise "
                "give `class` and `weights`"
            )
        if self.allow_download and self.kind not in ("monai", "module"):
            raise ValueError("`allow_download` belongs to kind: monai or module")
        if self.weights_key is not None and self.weights is None:
            raise ValueError("`weights_key` chooses from a file of `weights`, and none is given")
        return self

    def _has(self, key: str) -> bool:
        value = self.class_path if key == "class" else getattr(self, key)
        return value not in (None, {})

    def _misplaced(self, key: str, kind: KindKeys) -> str:
        if self.is_pickled and key == "class":
            return "`class` builds a network and `path` names a pickled one; give one of them"
        owners = [name for name, other in KINDS.items() if key in (other.needs, *other.takes)]
        whose = f"kind: {' or '.join(owners)}" if owners else "a pickled network, kind: module"
        shown = f"kind: {self.kind}" + (" with `path`" if self.is_pickled else "")
        return f"`{key}` belongs to {whose}; {shown} takes `{kind.needs}`"


def _keys_of_kinds() -> list[str]:
    every = [PICKLED, *KINDS.values()]
    return list(dict.fromkeys(key for kind in every for key in (kind.needs, *kind.takes)))
