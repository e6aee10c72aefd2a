"""The keys of how volumes are cut into windows and what is made of the networks' outputs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from esegeta.config.keys import Fraction, Keys, give_list


def _list_of_axes(value: Any) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ValueError("give a list of the network's axes, such as [0, 1, 2]")
    return value


class InferenceKeys(Keys):
    """How volumes are cut into windows."""

    window: Annotated[tuple[int, ...], give_list("[64, 64, 64]")]
    overlap: Fraction | tuple[Fraction, ...] = 0.5
    blend: Literal["gaussian", "constant", "nnunet"] = "gaussian"
    positions: Literal["fixed", "even"] = "fixed"
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    memory_gb: float | None = Field(default=None, gt=0)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    slice_axis: Literal[0, 1, 2] = 2
    padding: Literal["zeros", "edge", "reflect"] = "zeros"
    mirror: Annotated[tuple[int, ...], BeforeValidator(_list_of_axes)] = ()
    average: Literal["logits", "probabilities"] = "logits"
    spread: Literal["members"] | None = None

    @field_validator("window")
    @classmethod
    def _window_above_zero(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(value) not in (2, 3) or min(value, default=0) < 1:
            raise ValueError("give two or three lengths above zero")
        return value

    @field_validator("overlap")
    @classmethod
    def _overlap_fits(
        cls, value: float | tuple[float, ...], info: Any
    ) -> float | tuple[float, ...]:
        axes = len(info.data.get("window", ()))
        if axes and isinstance(value, tuple) and len(value) not in (1, axes):
            raise ValueError(
                f"{len(value)} fractions for a window with {axes} axes; give one, or {axes}"
            )
        return value

    @field_validator("mirror")
    @classmethod
    def _mirror_axes_exist(cls, value: tuple[int, ...], info: Any) -> tuple[int, ...]:
        axes = list(range(len(info.data.get("window", ()))))
        for axis in value:
            if axes and axis not in axes:
                raise ValueError(
                    f"the network has no axis {axis}; it is given windows with the axes {axes}"
                )
            if value.count(axis) > 1:
                raise ValueError(f"axis {axis} is listed twice")
        return value
