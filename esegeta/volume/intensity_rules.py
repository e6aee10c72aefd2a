"""Rules for grey values: each a small value object with one formula, for one channel at a time.

All are torch code that keeps the type of what it is given (float32 or float64) and that can be
differentiated, so that slopes can be carried back through them. A statistic of the image (a mean,
a percentile) is a function of the image, and is differentiated too.
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
from esegeta.errors import ConfigError, StepError, suggest

Channel = Float[Tensor, "*S"]
Span = tuple[float, float]
"""Lowest and highest value that a rule's bounds leave."""

OVER = ("all", "nonzero", "above_mean", "foreground")
"""Voxels over which mean and standard deviation are taken."""

SMALLEST_STD = 1e-8
"""nnU-Net divides by no less."""

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
        """Return between which values its result lies, to be drawn black and white.

        Args:
            before: the same of what it is given; None where no bounds were set.

        Returns:
            None where the image and no bound decides it.
        """
        return None


def _require_range(name: str, low: float, high: float, *, finite: bool = True) -> None:
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
        _require_range(self.name, self.low, self.high)

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in 0..1."""
        return ((v - self.low) / (self.high - self.low)).clamp(0.0, 1.0)

    def span(self, before: Span | None) -> Span | None:
        """Return 0..1."""
        return 0.0, 1.0


@dataclass(frozen=True)
class Percentile(Rule):
    """Between two percentiles of the channel, as `Window`; a constant channel becomes 0.

    Source: MONAI's ScaleIntensityRangePercentiles(low, high, 0, 1, clip=True, channel_wise=True).
    """

    low: float
    high: float
    name: ClassVar[str] = "percentile"

    def __post_init__(self) -> None:
        _require_range(self.name, self.low, self.high)
        if not (self.low >= 0 and self.high <= 100):
            raise ConfigError(
                f"intensity percentile: [{self.low:g}, {self.high:g}] must lie within 0..100"
            )

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in 0..1."""
        if _is_constant(v):
            return torch.zeros_like(v)
        low, high = _percentile(v, self.low), _percentile(v, self.high)
        if not bool(low < high):
            raise StepError(
                f"the {self.low:g}th and the {self.high:g}th percentile are both "
                f"{float(low.detach()):g}",
                hint="choose percentiles further apart, or another intensity rule",
            )
        return ((v - low) / (high - low)).clamp(0.0, 1.0)

    def span(self, before: Span | None) -> Span | None:
        """Return 0..1."""
        return 0.0, 1.0


@dataclass(frozen=True)
class Rescale(Rule):
    """From the channel's own range to [low, high]; a constant channel becomes low.

        (v - min) / (max - min) * (high - low) + low

    Source: MONAI's ScaleIntensity(low, high, channel_wise=True), which multiplies a constant
    channel by `low` instead.
    """

    low: float = 0.0
    high: float = 1.0
    name: ClassVar[str] = "rescale"

    def __post_init__(self) -> None:
        _require_range(self.name, self.low, self.high)

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in low..high."""
        if _is_constant(v):
            return torch.full_like(v, self.low)
        low, high = v.min(), v.max()
        return (v - low) / (high - low) * (self.high - self.low) + self.low

    def span(self, before: Span | None) -> Span | None:
        """Return its bounds where the values were bounded; else outliers would decide."""
        return None if before is None else (self.low, self.high)


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
        _require_range(self.name, self.low, self.high, finite=False)

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


@dataclass(frozen=True)
class Ct(Rule):
    """With numbers of the training set: (clip(v, low, high) - mean) / std.

    Source: nnU-Net's CTNormalization; low and high are percentile_00_5 and percentile_99_5 of
    its foreground_intensity_properties_per_channel, mean and std stand there too.
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
class ZScore(Rule):
    """Mean 0 and standard deviation 1: (v - mean) / std, over chosen voxels.

    `all`: every voxel. `nonzero`: v != 0; the rest stays as it is. `above_mean`: v > mean(v), by
    which all are scaled, with the std of a sample (n - 1). `foreground`: voxels that are non-zero
    in any channel as the image enters the steps, holes filled; the rest stays as it is. The std
    of equal values counts as 1.

    Source: `all` and `nonzero`: MONAI's NormalizeIntensity(channel_wise=True, nonzero=...).
    `above_mean`: TorchIO's ZNormalization(masking_method=ZNormalization.mean). `foreground`:
    nnU-Net's ZScoreNormalization with use_mask_for_norm, and its create_nonzero_mask.
    """

    over: str = "all"
    name: ClassVar[str] = "zscore"

    def __post_init__(self) -> None:
        if self.over not in OVER:
            raise ConfigError(
                f'intensity zscore: over: "{self.over}" is not known',
                hint=suggest(self.over, OVER),
            )

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return scaled values; outside `nonzero` and `foreground` they are those of v."""
        if self.over == "all":
            return _standardised(v, v, correction=0)
        if self.over == "above_mean":
            return _standardised(v, v[v > v.mean()], correction=1)
        chosen = v != 0 if self.over == "nonzero" else foreground()
        return torch.where(chosen, _standardised(v, v[chosen], correction=0), v)


def _standardised(v: Tensor, values: Tensor, *, correction: int) -> Tensor:
    """Scale by mean and standard deviation of some of the values."""
    if _is_constant(v) or not values.numel():
        return torch.zeros_like(v)
    if _is_constant(values):
        return v - values.flatten()[0]  # exactly 0, which a rounded mean would not give
    return (v - values.mean()) / values.std(correction=correction)


def _is_constant(values: Tensor) -> bool:
    return bool(values.min() == values.max())


def _percentile(v: Tensor, percent: float) -> Tensor:
    """Return a percentile as NumPy interpolates it, linearly between two values."""
    if not v.requires_grad:
        from monai.transforms.utils_pytorch_numpy_unification import percentile

        return torch.as_tensor(percentile(v, percent), dtype=v.dtype)
    place = percent / 100.0 * (v.numel() - 1)
    below = math.floor(place)
    low = v.flatten().kthvalue(below + 1).values
    high = v.flatten().kthvalue(min(below + 2, v.numel())).values
    return low + (high - low) * (place - below)
