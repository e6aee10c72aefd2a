"""What a picture pays for: length, roughness, large values, being unlike the data.

Each is one number a picture that is 1 for the mean real patch, or counts in standard deviations
between real patches, so that a weight means the same for every unit, layer and image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor

from esegeta.axes import Batch, Image, Scalars
from esegeta.features.experts import Expert


class Penalty(ABC):
    """One number a picture, to be kept small."""

    @abstractmethod
    def __call__(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return it, differentiable; `shift` is drawn anew each step, for experts."""


@dataclass(frozen=True, eq=False)
class PowerNorm(Penalty):
    """lambda |x - m|_alpha^alpha, over its mean over real patches; L2 where alpha is 2.

    Args:
        centre: m, `C *S`: the mean real patch, for an empty scan is none of zeros.
        alpha: the power; 6 holds back large values alone.
        scale: what the mean real patch has before it is divided.

    Source: Simonyan et al. 2014 (L2); Mahendran and Vedaldi 2015, eq. 3 (alpha).
    """

    centre: Image = field(repr=False)
    alpha: float = 2.0
    scale: float = 1.0

    def __call__(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return the mean of |x - m|^alpha."""
        away = x - self.centre
        powers = away.square() if self.alpha == 2 else away.abs() ** self.alpha
        return powers.flatten(1).mean(1) / self.scale


@dataclass(frozen=True)
class TotalVariation(Penalty):
    """sum_a mean |x(p + e_a) - x(p)| / spacing_a, over its mean over real patches.

    Args:
        spacing_mm: spacing of the voxels in mm, so that a coarse axis is not taken for a rough one.
        scale: what the mean real patch has before it is divided.

    Source: Rudin et al. 1992; Mahendran and Vedaldi 2015.
    """

    spacing_mm: tuple[float, ...]
    scale: float = 1.0

    def __call__(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return it of each picture, per mm."""
        parts = [
            x.diff(dim=axis + 2).abs().flatten(1).mean(1) / mm
            for axis, mm in enumerate(self.spacing_mm)
            if x.shape[axis + 2] > 1
        ]
        return torch.stack(parts).sum(0) / self.scale if parts else x.new_zeros(len(x))


@dataclass(frozen=True, eq=False)
class ExpertCost(Penalty):
    """What an expert says, over its standard deviation between real patches.

    Args:
        expert: it.
        scale: that standard deviation, so that cost and activation count in the same measure.
    """

    expert: Expert
    scale: float = 1.0

    def __call__(self, x: Batch, *, shift: Sequence[int] = ()) -> Scalars:
        """Return the expert's cost."""
        return self.expert.cost(x, shift=shift) / self.scale


Scaled = TypeVar("Scaled", PowerNorm, TotalVariation)


def scaled_to(penalty: Scaled, patches: Batch) -> Scaled:
    """Return a penalty that is 1 for the mean real patch; unchanged where all have none."""
    with torch.no_grad():
        parts: list[Tensor] = [penalty(chunk) for chunk in torch.split(patches, 16)]
    typical = float(torch.cat(parts).mean())
    return replace(penalty, scale=typical * penalty.scale) if typical > 0 else penalty
