"""Rules for grey values by statistics of the channel: percentiles, its range, mean and deviation.

A statistic is a function of the image, and is differentiated too. `fixed` gives the rule that it
comes to for one image, which changes grey values voxel by voxel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Mask
from esegeta.errors import ConfigError, StepError, suggest
from esegeta.volume.intensity_rules import (
    Channel,
    Flat,
    Linear,
    Rule,
    Span,
    Standardise,
    Window,
    chosen_of,
    require_range,
)

OVER = ("all", "nonzero", "above_mean", "foreground")
"""Voxels over which mean and standard deviation are taken."""


@dataclass(frozen=True)
class Percentile(Rule):
    """Between two percentiles of the channel, as `Window`; a constant channel becomes 0.

    Source: MONAI's ScaleIntensityRangePercentiles(low, high, 0, 1, clip=True, channel_wise=True).
    """

    low: float
    high: float
    name: ClassVar[str] = "percentile"

    def __post_init__(self) -> None:
        require_range(self.name, self.low, self.high)
        if not (self.low >= 0 and self.high <= 100):
            raise ConfigError(
                f"intensity percentile: [{self.low:g}, {self.high:g}] must lie within 0..100"
            )

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in 0..1."""
        if _is_constant(v):
            return torch.zeros_like(v)
        low, high = self._bounds(v)
        return ((v - low) / (high - low)).clamp(0.0, 1.0)

    def span(self, before: Span | None) -> Span | None:
        """Return 0..1."""
        return 0.0, 1.0

    def fixed(self, v: Channel, foreground: Callable[[], Mask]) -> Rule:
        """Return the window between the two percentiles of these values."""
        if _is_constant(v):
            return Flat(0.0)
        low, high = self._bounds(v.detach())
        return Window(float(low), float(high))

    def _bounds(self, v: Channel) -> tuple[Tensor, Tensor]:
        low, high = _percentile(v, self.low), _percentile(v, self.high)
        if not bool(low < high):
            raise StepError(
                f"the {self.low:g}th and the {self.high:g}th percentile are both "
                f"{float(low.detach()):g}",
                hint="choose percentiles further apart, or another intensity rule",
            )
        return low, high


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
        require_range(self.name, self.low, self.high)

    def __call__(self, v: Channel, foreground: Callable[[], Mask]) -> Channel:
        """Return values in low..high."""
        if _is_constant(v):
            return torch.full_like(v, self.low)
        low, high = v.min(), v.max()
        return (v - low) / (high - low) * (self.high - self.low) + self.low

    def span(self, before: Span | None) -> Span | None:
        """Return its bounds where the values were bounded; else outliers would decide."""
        return None if before is None else (self.low, self.high)

    def fixed(self, v: Channel, foreground: Callable[[], Mask]) -> Rule:
        """Return the line from the range of these values."""
        if _is_constant(v):
            return Flat(self.low)
        low, high = float(v.min()), float(v.max())
        scale = (self.high - self.low) / (high - low)
        return Linear(scale, self.low - low * scale)


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
        moments = self._moments(v, foreground)
        scaled = torch.zeros_like(v) if moments is None else (v - moments[0]) / moments[1]
        chosen = chosen_of(self.over, v, foreground)
        return scaled if chosen is None else torch.where(chosen, scaled, v)

    def fixed(self, v: Channel, foreground: Callable[[], Mask]) -> Rule:
        """Return the same, using the mean and the standard deviation of these values."""
        moments = self._moments(v.detach(), foreground)
        # What has no moments becomes 0, whatever it is divided by.
        mean, std = (0.0, math.inf) if moments is None else (float(one) for one in moments)
        return Standardise(mean, std, self.over)

    def _moments(self, v: Channel, foreground: Callable[[], Mask]) -> tuple[Tensor, Tensor] | None:
        """Return mean and standard deviation over chosen voxels; None for a constant channel."""
        chosen = v > v.mean() if self.over == "above_mean" else chosen_of(self.over, v, foreground)
        values = v if chosen is None else v[chosen]
        if _is_constant(v) or not values.numel():
            return None
        if _is_constant(values):  # by their value they are exactly 0, and not by a rounded mean
            return values.flatten()[0], torch.ones_like(values.flatten()[0])
        return values.mean(), values.std(correction=1 if self.over == "above_mean" else 0)


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
