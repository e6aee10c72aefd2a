"""Rules for grey values: each a small value object with one formula, for one channel at a time.

All are torch code that keeps the type of what it is given (float32 or float64) and that can be
differentiated, so that slopes can be carried back through them. Those here change grey values voxel
by voxel; those that take a mean or a percentile of the image are in `intensity_statistics`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Mask
from esegeta.errors import ConfigError, StepError

Channel = Float[Tensor, "*S"]
Span = tuple[float, float]
"""Lowest and highest value that a rule's bounds leave."""

SMALLEST_STD = 1e-8
"""nnU-Net divides by nothing smaller."""

EXAMPLES = {
    "window": "[-250, 400]",
    "percentile": "[0.5, 99.5]",
    "clip": "[0, 1000]",
    "rescale": "[-1, 1]",
}


class Rule(ABC):
    """What happens to the values of one channel."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return the values `*S` after the rule.

        Args:
            v: values before it; they are left as they are.
            foreground: returns the voxels that are non-zero in any channel, holes filled.

        Raises:
            StepError: the rule is not defined on these values.
        """

    def span(self, before: Span | None) -> Span | None:
        """Return the values that its result lies between, to be drawn black and white.

        Args:
            before: the same for the values that it is given; None where no bounds were set.

        Returns:
            None where the image decides it, not a bound.
        """
        return None

    def fixed(self, v: Channel, foreground: Callable[[], Mask]) -> Rule:
        """Return what the rule is for these values, its statistics held fixed.

        The returned rule gives the same values for `v`, and treats each other value by itself.
        """
        return self


def require_range(name: str, low: float, high: float, *, finite: bool = True) -> None:
    """Refuse bounds with nothing between them, or not finite where they must be."""
    if not low < high:
        raise ConfigError(
            f"intensity {name}: [{low:g}, {high:g}] is empty",
            hint=f"give the lower bound first, e.g. {name}: {EXAMPLES[name]}",
        )
    if finite and not (math.isfinite(low) and math.isfinite(high)):
        raise ConfigError(f"intensity {name}: [{low:g}, {high:g}] must be finite")


@dataclass(frozen=True)
class Keep(Rule):
    """Leaves values alone."""

    name: ClassVar[str] = "none"

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return v."""
        return v

    def span(self, before: Span | None) -> Span | None:
        """Return what it is given."""
        return before


@dataclass(frozen=True)
class Window(Rule):
    """Between two grey values: clip((v - low) / (high - low), 0, 1).

    Source: MONAI's ScaleIntensityRange(low, high, 0, 1, clip=True).
    """

    low: float
    high: float
    name: ClassVar[str] = "window"

    def __post_init__(self) -> None:
        require_range(self.name, self.low, self.high)

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in 0..1."""
        return ((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0)

    def span(self, before: Span | None) -> Span | None:
        """Return 0..1."""
        return 0.0, 1.0


@dataclass(frozen=True)
class Linear(Rule):
    """By two numbers: scale * v + offset, as `rescale: {scale: 0.01, offset: -1}`."""

    scale: float = 1.0
    offset: float = 0.0
    name: ClassVar[str] = "rescale"

    def __post_init__(self) -> None:
        if self.scale == 0 or not (math.isfinite(self.scale) and math.isfinite(self.offset)):
            raise ConfigError(
                f"intensity rescale: scale {self.scale:g} and offset {self.offset:g} must be "
                "finite, and the scale not 0"
            )

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return scale * v + offset."""
        return v * self.scale + self.offset

    def span(self, before: Span | None) -> Span | None:
        """Return where the bounds go."""
        if before is None:
            return None
        low, high = sorted(self.scale * bound + self.offset for bound in before)
        return low, high


@dataclass(frozen=True)
class Clip(Rule):
    """No value outside [low, high]; either may be infinite."""

    low: float
    high: float
    name: ClassVar[str] = "clip"

    def __post_init__(self) -> None:
        require_range(self.name, self.low, self.high, finite=False)

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return min(max(v, low), high)."""
        return v.clamp(self.low, self.high)

    def span(self, before: Span | None) -> Span | None:
        """Return the narrower of both bounds; None where one of them is infinite."""
        lowest, highest = before or (-math.inf, math.inf)
        low, high = max(self.low, lowest), min(self.high, highest)
        return (low, high) if math.isfinite(high - low) and low < high else None


@dataclass(frozen=True)
class Log(Rule):
    """Natural logarithm of 1 + v, for values above -1."""

    name: ClassVar[str] = "log"

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return log(1 + v)."""
        lowest = float(v.detach().min())
        if lowest <= -1:
            raise StepError(
                f"a value is {lowest:g}, and log(1 + v) needs values above -1",
                hint="clip or shift the values in a step before, such as clip: [0, .inf]",
            )
        return v.log1p()

    def span(self, before: Span | None) -> Span | None:
        """Return the logarithms of the bounds."""
        if before is None or before[0] <= -1:
            return None
        return math.log1p(before[0]), math.log1p(before[1])

    def fixed(self, v: Channel, foreground: Callable[[], Mask]) -> Rule:
        """Return the same for values of this range: those below lowest count as lowest."""
        return LogFrom(float(v.min()))


@dataclass(frozen=True)
class LogFrom(Rule):
    """Natural logarithm of 1 + max(v, low)."""

    low: float
    name: ClassVar[str] = "log"

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return log(1 + v), and no less than that of low."""
        return v.clamp(min=self.low).log1p()


@dataclass(frozen=True)
class Flat(Rule):
    """One value everywhere: what becomes of a constant channel."""

    value: float
    name: ClassVar[str] = "flat"

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return the value, whatever v is."""
        return v * 0 + self.value


@dataclass(frozen=True)
class Ct(Rule):
    """With numbers of the training set: (clip(v, low, high) - mean) / std.

    Source: nnU-Net's CTNormalization; low and high are percentile_00_5 and percentile_99_5 of
    its foreground_intensity_properties_per_channel, mean and std are given there too.
    """

    low: float
    high: float
    mean: float
    std: float
    name: ClassVar[str] = "ct"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigError(
                f"intensity ct: clip: [{self.low:g}, {self.high:g}] is empty",
                hint="give the lower bound first",
            )
        if not (self.std > 0 and math.isfinite(self.std) and math.isfinite(self.mean)):
            raise ConfigError(
                f"intensity ct: mean {self.mean:g} and std {self.std:g} must be finite, and the "
                "std above 0"
            )

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return clipped values in standard deviations from the mean."""
        return (v.clamp(self.low, self.high) - self.mean) / max(self.std, SMALLEST_STD)

    def span(self, before: Span | None) -> Span | None:
        """Return the bounds in standard deviations from the mean."""
        if not math.isfinite(self.high - self.low):
            return None
        std = max(self.std, SMALLEST_STD)
        return (self.low - self.mean) / std, (self.high - self.mean) / std


@dataclass(frozen=True)
class Standardise(Rule):
    """By a mean and a standard deviation that are known: (v - mean) / std, over chosen voxels."""

    mean: float
    std: float
    over: str = "all"
    name: ClassVar[str] = "zscore"

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return scaled values; outside `nonzero` and `foreground` they are those of v."""
        scaled = (v - self.mean) / self.std
        chosen = chosen_of(self.over, v, foreground)
        return scaled if chosen is None else torch.where(chosen, scaled, v)


def chosen_of(over: str, v: Tensor, foreground: Callable[[], Mask]) -> Mask | None:
    """Return the voxels that a z-score changes; None where it is all of them."""
    if over in ("all", "above_mean"):
        return None
    return v != 0 if over == "nonzero" else foreground()
