"""What is done to a picture on the way: it is shifted, turned, scaled and smoothed at random.

A picture whose activation survives that holds no pattern of single voxels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from esegeta.axes import Batch


@dataclass(frozen=True)
class Draws:
    """Random numbers of the host: the same on every device."""

    generator: torch.Generator

    @classmethod
    def of(cls, seed: int) -> Draws:
        """Return the draws of a seed."""
        generator = torch.Generator()
        generator.manual_seed(seed)
        return cls(generator)

    def between(self, low: float, high: float) -> float:
        """Return a number between two others, each as likely."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def integers(self, low: int, high: int, count: int) -> list[int]:
        """Return whole numbers from `low` to `high`, both included."""
        found: list[int] = torch.randint(low, high + 1, (count,), generator=self.generator).tolist()
        return found

    def normal_like(self, x: Tensor) -> Tensor:
        """Return standard normal numbers of a tensor's shape, on its device."""
        return torch.randn(x.shape, generator=self.generator).to(x)


@dataclass(frozen=True)
class Transforms:
    """Random transformations, drawn anew each step.

    Args:
        jitter_voxels: largest shift along each axis, each as likely; what leaves at one border
            comes in at the other.
        rotate_degrees: largest turn about each axis.
        scale: largest part by which lengths change, such as 0.1.

    Source: Mordvintsev et al. 2015 (jitter); Olah et al. 2017.
    """

    jitter_voxels: int = 0
    rotate_degrees: float = 0.0
    scale: float = 0.0

    def __call__(
        self,
        x: Batch,
        draws: Draws,
        spacing_mm: Sequence[float],
        *,
        shift: Sequence[int] | None = None,
    ) -> Batch:
        """Return the batch transformed, all pictures alike, `shift` not drawn; differentiable."""
        ndim = x.ndim - 2
        if self.jitter_voxels:
            drawn = draws.integers(-self.jitter_voxels, self.jitter_voxels, ndim)
            x = shifted(x, drawn if shift is None else shift)
        if self.rotate_degrees or self.scale:
            angles = [
                math.radians(draws.between(-self.rotate_degrees, self.rotate_degrees))
                for _ in combinations(range(ndim), 2)
            ]
            factor = 1 + draws.between(-self.scale, self.scale)
            x = turned(x, angles, factor, spacing_mm)
        return x


def shifted(x: Batch, shift: Sequence[int]) -> Batch:
    """Return pictures shifted along each axis; what leaves at one border comes in at the other."""
    return torch.roll(x, tuple(shift), dims=tuple(range(2, x.ndim)))


def best_shift(x: Batch, reach: int, worth: Callable[[Batch], Tensor]) -> list[int]:
    """Return the shift of at most `reach` voxels by which a batch gains most, found axis by axis.

    Args:
        x: pictures, all shifted alike.
        reach: in voxels.
        worth: of the shifted batch, one number; of equals the shortest shift is taken.
    """
    shift = [0] * (x.ndim - 2)
    lengths = sorted(range(-reach, reach + 1), key=abs)
    for axis in range(len(shift)):
        tried = [[*shift[:axis], length, *shift[axis + 1 :]] for length in lengths]
        worths = torch.stack([worth(shifted(x, one)) for one in tried])
        shift = tried[int(worths.nan_to_num(-torch.inf).argmax())]
    return shift


def turned(x: Batch, angles: Sequence[float], factor: float, spacing_mm: Sequence[float]) -> Batch:
    """Return pictures turned about their middle and enlarged, in millimetres.

    Args:
        x: pictures; voxels from outside take the value at the border.
        angles: in radians, in the planes of axes (0, 1), (0, 2), (1, 2), or in the one of 2D.
        factor: by which structures become larger.
        spacing_mm: spacing of the voxels, in mm.
    """
    ndim = x.ndim - 2
    turn = torch.eye(ndim, dtype=torch.float64)
    for angle, (one, other) in zip(angles, combinations(range(ndim), 2), strict=True):
        plane = torch.eye(ndim, dtype=torch.float64)
        plane[one, one] = plane[other, other] = math.cos(angle)
        plane[one, other], plane[other, one] = -math.sin(angle), math.sin(angle)
        turn = turn @ plane
    half = torch.tensor(
        [n * mm / 2 for n, mm in zip(x.shape[2:], spacing_mm, strict=True)], dtype=torch.float64
    )
    # Where each voxel of the result comes from, in half sides; torch counts the last axis first.
    matrix = (turn * half[None] / half[:, None] / factor).flip(0, 1)
    theta = torch.cat([matrix, torch.zeros(ndim, 1, dtype=torch.float64)], dim=1).to(x)
    grid = F.affine_grid(theta.expand(len(x), -1, -1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Blur:
    """Smooths the picture itself every few steps: x <- R(x), a Gaussian.

    Args:
        sigma_mm: its width, in mm.
        every: steps between two.

    Source: Yosinski et al. 2015, whose r_theta this is.
    """

    sigma_mm: float
    every: int = 4

    def __call__(self, x: Batch, spacing_mm: Sequence[float]) -> Batch:
        """Return the smoothed batch; at the border its value goes on."""
        for axis, mm in enumerate(spacing_mm):
            x = _smoothed(x, axis + 2, self.sigma_mm / mm)
        return x


def _smoothed(x: Tensor, axis: int, sigma: float) -> Tensor:
    reach = min(math.ceil(3 * sigma), x.shape[axis] - 1)
    if reach < 1:
        return x
    places = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (places / sigma) ** 2)
    weights = (weights / weights.sum()).to(x)
    moved = x.movedim(axis, -1)
    flat = moved.reshape(-1, 1, moved.shape[-1])
    padded = F.pad(flat, (reach, reach), mode="replicate")
    return F.conv1d(padded, weights[None, None]).reshape(moved.shape).movedim(-1, axis)
