"""The keys of `retrain`: what is taken out of the images, and how networks are trained on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from esegeta.config.keys import Keys, give_list
from esegeta.errors import suggest
from esegeta.retraining import MapRank, RemovalMode, Schedule, loss_classes, optimizer_classes

FillKind = Literal["zero", "mean", "minimum", "blur"]

Item = TypeVar("Item", int, float, str)


class FillKeys(Keys):
    """What takes the place of removed voxels."""

    kind: FillKind = "mean"
    sigma_mm: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _width_of_a_blur(self) -> FillKeys:
        if "sigma_mm" in self.model_fields_set and self.kind != "blur":
            raise ValueError(f"`sigma_mm` belongs to kind: blur, not kind: {self.kind}")
        return self


def _fill_word(value: Any) -> Any:
    kinds = get_args(FillKind)
    if isinstance(value, str) and value not in kinds:
        raise ValueError(f'"{value}" is not known; {suggest(value, kinds)}')
    return {"kind": value} if isinstance(value, str) else value


class RetrainKeys(Keys):
    """Remove or keep what a method ranks highest, and train the network again from scratch."""

    modes: list[RemovalMode] = Field(default=["roar", "kar"], min_length=1)
    fractions: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        default=[0.1, 0.3, 0.5, 0.7, 0.9], min_length=1
    )
    target: str | None = None
    rank_by: MapRank = "magnitude"
    baseline: Annotated[FillKeys, BeforeValidator(_fill_word)] = FillKeys()
    loss: str = "DiceCELoss"
    loss_args: dict[str, Any] = Field(default_factory=dict)
    optimizer: str = "AdamW"
    optimizer_args: dict[str, Any] = Field(default={"lr": 3e-3})
    schedule: Schedule = "cosine"
    iterations: int = Field(default=200, ge=1)
    batch_size: int = Field(default=8, ge=1)
    patch: Annotated[tuple[int, ...], give_list("[96, 96]")] | None = None
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0, 1, 2], min_length=1)
    folds: int = Field(default=3, ge=2)

    @field_validator("modes", "fractions", "seeds")
    @classmethod
    def _distinct(cls, value: list[Item]) -> list[Item]:
        for item in value:
            if value.count(item) > 1:
                raise ValueError(f"{item} is listed twice")
        return value

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, value: str) -> str:
        return _one_of(value, loss_classes(), "monai.losses")

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, value: str) -> str:
        return _one_of(value, optimizer_classes(), "torch.optim")

    @field_validator("patch")
    @classmethod
    def _patch_above_zero(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (len(value) not in (2, 3) or min(value) < 1):
            raise ValueError("give two or three lengths above zero")
        return value


def _one_of(name: str, known: Mapping[str, Any], where: str) -> str:
    if name not in known:
        raise ValueError(f'{where} has no "{name}"; {suggest(name, known)}')
    return name
