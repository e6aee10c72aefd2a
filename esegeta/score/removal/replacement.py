"""What takes the place of removed voxels: a baseline, or values made of their neighbours'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from esegeta.errors import ConfigError, suggest
from esegeta.explain import Baseline, parse_baseline
from esegeta.explain.baseline import IMAGE_SUFFIXES, BaselineKind

NOISY_LINEAR = "noisy_linear"


@dataclass(frozen=True)
class NoisyLinear:
    """Removed voxels become the weighted mean of their neighbours, all at once, plus noise.

    What is removed leaves no mark, such as the grey hole of a constant: a network cannot read the
    shape of what was taken out.

    Args:
        kind: `noisy_linear`.
        noise: its standard deviation, in standard deviations of the image.
        seed: of the noise.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["noisy_linear"] = "noisy_linear"
    noise: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise ConfigError(f"baseline: noise: {self.noise:g} is below zero")


Replacement = Baseline | NoisyLinear


def parse_replacement(value: Replacement | str) -> Replacement:
    """Turn `noisy_linear`, a baseline's word, or the path of an image, into what replaces voxels.

    Raises:
        ConfigError: the word is none of them.
    """
    if isinstance(value, NoisyLinear) or value == NOISY_LINEAR:
        return NoisyLinear() if isinstance(value, str) else value
    known = (NOISY_LINEAR, *get_args(BaselineKind))
    if isinstance(value, str) and value not in known and not value.endswith(IMAGE_SUFFIXES):
        raise ConfigError(f'baseline: "{value}" is not known', hint=suggest(value, known))
    return parse_baseline(value)
