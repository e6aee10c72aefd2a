"""Pictures as sums of waves: the finer the wave, the less a step moves it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.axes import Batch, Shape
from esegeta.features.parametrisation import Parametrisation


@dataclass(frozen=True, eq=False)
class Fourier(Parametrisation):
    """The coefficients of waves, each times 1 / its frequency.

        x = irfft(s z),    s(f) ~ 1 / max(f, f_0)^decay,    f in cycles per mm

    Natural images, and scans, have a spectrum that falls about so: with it all waves move alike.
    f_0 is one cycle over the picture's longest side. s is scaled so that coefficients of variance
    one make a picture of variance one. Frequencies are in mm: anisotropic voxels do not make
    pictures stretched.

    Args:
        shape: of the picture, two or three lengths.
        spacing_mm: spacing of its voxels, in mm.
        decay: power of the frequency; 0 gives the voxels in other coordinates.

    Source: Olah et al. 2017, in 2D for square pixels.
    """

    shape: Shape
    spacing_mm: tuple[float, ...]
    decay: float = 1.0
    scale: Float[Tensor, "*F"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        full = frequencies(self.shape, self.spacing_mm)
        least = 1 / max(n * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True))
        falling = full.clamp(min=least) ** -self.decay
        falling = falling / falling.square().mean().sqrt()
        half = falling[..., : self.shape[-1] // 2 + 1]
        object.__setattr__(self, "scale", half.float())

    def encode(self, x: Batch) -> list[Tensor]:
        """Return the coefficients, real and imaginary parts along a last axis."""
        waves = torch.fft.rfftn(x, dim=self._axes, norm="ortho") / self.scale.to(x.device)
        return [torch.view_as_real(waves).contiguous()]

    def decode(self, free: Sequence[Tensor]) -> Batch:
        """Return the picture."""
        waves = torch.view_as_complex(free[0] * self.scale.to(free[0].device)[..., None])
        found: Tensor = torch.fft.irfftn(waves, s=self.shape, dim=self._axes, norm="ortho")
        return found

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(2, 2 + len(self.shape)))


def frequencies(shape: Shape, spacing_mm: Sequence[float]) -> Float[Tensor, "*S"]:
    """Return the frequency of each coefficient of a full Fourier transform, in cycles per mm."""
    parts = [
        torch.fft.fftfreq(length, d=mm, dtype=torch.float64)
        for length, mm in zip(shape, spacing_mm, strict=True)
    ]
    grids = torch.meshgrid(*parts, indexing="ij")
    return torch.stack([grid.square() for grid in grids]).sum(0).sqrt()


def high_frequency_share(x: Batch, spacing_mm: Sequence[float]) -> Float[Tensor, " B"]:
    """Return which part of a picture's power is in waves above half of what its voxels can hold.

        sum_{f > f_N / 2} |X(f)|^2 / sum_{f > 0} |X(f)|^2,    f_N = 1 / (2 largest spacing)

    A Hann window takes away the jump from one border to the other, which is no fine structure.

    Args:
        x: pictures `B C *S`.
        spacing_mm: spacing of their voxels, in mm.
    """
    shape = tuple(x.shape[2:])
    values = (x - x.flatten(2).mean(2).reshape(*x.shape[:2], *[1] * len(shape))).double()
    for axis, length in enumerate(shape):
        if length > 2:
            window = torch.hann_window(length + 2, periodic=False, dtype=torch.float64)[1:-1]
            column = [length if at == axis else 1 for at in range(len(shape))]
            values = values * window.to(x.device).reshape(column)
    power = torch.fft.fftn(values, dim=tuple(range(2, 2 + len(shape)))).abs().square().sum(1)
    at = frequencies(shape, spacing_mm).to(x.device)
    nyquist = 1 / (2 * max(mm for mm, n in zip(spacing_mm, shape, strict=True) if n > 1))
    moving = power * (at > 0)
    total = moving.flatten(1).sum(1)
    high = (moving * (at > nyquist / 2)).flatten(1).sum(1)
    floor = torch.finfo(torch.float64).tiny
    return torch.where(total > floor, high / total.clamp(min=floor), 0.0).float()


def octaves(shape: Shape, least: Shape, count: int, ratio: float) -> list[Shape]:
    """Return lengths of the same image, coarse to fine, each `ratio` times the one before.

    Args:
        shape: of the image, the last octave.
        least: no length is below these, as far as the image itself has them.
        count: number of octaves.
        ratio: above 1.
    """
    found: list[Shape] = []
    for step in reversed(range(count)):
        lengths = tuple(
            max(min(n, low), math.ceil(n / ratio**step))
            for n, low in zip(shape, least, strict=True)
        )
        if lengths not in found:
            found.append(lengths)
    return found
