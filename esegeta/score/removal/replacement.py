"""What takes the place of removed voxels: a baseline, or their noisy linear imputation.

With w_ij = 1 / d_ij^2 over the 3^n - 1 neighbours (d in mm), removed voxels solve

    sum_j w_ij (u_i - u_j) = 0,    u_j = x_j wherever j is not removed,

a symmetric positive definite system: conjugate gradients, started from a pyramid that has filled
the holes from coarser levels, on whatever device the image is on.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from esegeta.axes import Image, Mask
from esegeta.errors import ConfigError, suggest
from esegeta.explain import Baseline, generator_for, parse_baseline, standard_deviation
from esegeta.explain.baseline import BaselineKind
from esegeta.explain.finite import FiniteParameters
from esegeta.model import full_float32
from esegeta.volume import names_image

PlaneValues = Float[Tensor, "C 1 *S"]

TOLERANCE = 1e-3
MAX_ITERATIONS = 300
SWEEPS = 4


def impute(
    x: Image,
    removed: Mask,
    spacing_mm: tuple[float, ...],
    *,
    noise: float = 0.0,
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Image:
    """Fill removed voxels of `C *S` in from their neighbours, and add noise to them.

    With everything removed each channel is its mean.

    Args:
        x: the image.
        removed: `*S`.
        spacing_mm: spacing in mm, a length per axis.
        noise: standard deviation, in standard deviations of the image.
        seed: random seed for the noise.
        tolerance: length of the residual, relative to where the solution starts from zero.

    Source: Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods
    (ROAD), 2022, section 4.3. There weights are 1/6 and 1/12 in 2D; here they are the same ratio
    on square pixels, and go on to three axes and other spacings.
    """
    if not bool(removed.any()):
        return x
    if bool(removed.all()):
        axes = tuple(range(1, x.ndim))
        filled = x.mean(dim=axes, keepdim=True).expand_as(x)
    else:
        with full_float32():
            filled = _solve(x[:, None], removed, stencil(spacing_mm).to(x), tolerance)[:, 0]
    draw = torch.randn(x.shape, generator=generator_for(x, seed), device=x.device, dtype=x.dtype)
    return torch.where(removed, filled + noise * standard_deviation(x) * draw, x)


def stencil(spacing_mm: tuple[float, ...]) -> Float[Tensor, "1 1 *K"]:
    """Return the weight of each neighbour, 1 / d^2 in mm, scaled to a sum of one; 0 at itself."""
    offsets = itertools.product((-1, 0, 1), repeat=len(spacing_mm))
    squares = [
        sum((step * mm) ** 2 for step, mm in zip(offset, spacing_mm, strict=True))
        for offset in offsets
    ]
    weights = torch.tensor([1 / square if square else 0.0 for square in squares])
    return (weights / weights.sum()).reshape(1, 1, *(3,) * len(spacing_mm))


def _solve(x: PlaneValues, removed: Mask, weights: Tensor, tolerance: float) -> PlaneValues:
    inside = removed.to(x)
    # Neighbours beyond the border do not count: each voxel's weights add up over those it has.
    total = _gather(torch.ones_like(inside)[None, None], weights)

    def apply(u: PlaneValues) -> PlaneValues:
        return inside * (total * u - _gather(u, weights))

    given = inside * _gather((1 - inside) * x, weights)
    u = inside * fill_from_pyramid(x, ~removed, weights)
    residual = given - apply(u)
    limit = tolerance * _length(given).clamp(min=torch.finfo(x.dtype).tiny)
    search = residual / total
    energy = _dot(residual, search)
    for _ in range(MAX_ITERATIONS):
        if bool((_length(residual) <= limit).all()):
            break
        moved = apply(search)
        # Channels that are solved already divide 0 by 0.
        step = torch.nan_to_num(energy / _dot(search, moved))
        u = u + step * search
        residual = residual - step * moved
        scaled = residual / total
        fresh = _dot(residual, scaled)
        search = scaled + torch.nan_to_num(fresh / energy) * search
        energy = fresh
    return u


def fill_from_pyramid(x: PlaneValues, known: Mask, weights: Tensor) -> PlaneValues:
    """Return x with a first guess wherever it is not known: that of a grid half as fine, smoothed.

    Coarse grids settle what wide holes look like; a few sweeps of Jacobi's method on each settle
    the rest, so that conjugate gradients have little left to do.
    """
    weight = known.to(x)[None, None]
    if bool(known.all()) or max(known.shape) == 1:
        return x
    share = _halve(weight)
    mean = _halve(x * weight) / share.clamp(min=torch.finfo(x.dtype).tiny)
    coarse = fill_from_pyramid(mean, share[0, 0] > 0, weights)
    mode = "bilinear" if known.ndim == 2 else "trilinear"
    fine = F.interpolate(coarse, scale_factor=_factors(x), mode=mode, align_corners=False)
    inner: tuple[Any, ...] = (..., *(slice(0, length) for length in known.shape))
    filled = torch.where(known, x, fine[inner])
    total = _gather(torch.ones_like(weight), weights)
    for _ in range(SWEEPS):
        filled = torch.where(known, x, _gather(filled, weights) / total)
    return filled


def _halve(u: PlaneValues) -> Float[Tensor, "C 1 *H"]:
    pool = F.avg_pool2d if u.ndim == 4 else F.avg_pool3d
    size = _factors(u)
    halved: Tensor = pool(u, kernel_size=size, ceil_mode=True, count_include_pad=False)
    return halved


def _factors(u: PlaneValues) -> tuple[int, ...]:
    """Return by how much each axis shrinks; an axis of a single voxel stays."""
    return tuple(min(2, length) for length in u.shape[2:])


def _gather(u: PlaneValues, weights: Tensor) -> PlaneValues:
    convolve = F.conv2d if u.ndim == 4 else F.conv3d
    return convolve(u, weights, padding=1)


def _dot(one: PlaneValues, other: PlaneValues) -> Tensor:
    axes = tuple(range(1, one.ndim))
    return (one * other).sum(dim=axes, keepdim=True, dtype=torch.float64).to(one)


def _length(u: PlaneValues) -> Tensor:
    return _dot(u, u).sqrt()


NOISY_LINEAR = "noisy_linear"


@dataclass(frozen=True)
class NoisyLinear(FiniteParameters):
    """Removed voxels become the weighted mean of their neighbours, all at once, plus noise.

    What is removed leaves no mark, such as the grey hole of a constant: a network cannot read the
    shape of what was taken out.

    Args:
        kind: `noisy_linear`.
        noise: its standard deviation, in standard deviations of the image.
        seed: random seed for the noise.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    kind: Literal["noisy_linear"] = "noisy_linear"
    noise: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise ConfigError(f"baseline: noise: {self.noise:g} must be 0 or more")


Replacement = Baseline | NoisyLinear


def parse_replacement(value: Replacement | str) -> Replacement:
    """Turn `noisy_linear`, a baseline's word, or the path of an image, into what replaces voxels.

    Raises:
        ConfigError: the word is not a known baseline.
    """
    if isinstance(value, NoisyLinear) or value == NOISY_LINEAR:
        return NoisyLinear() if isinstance(value, str) else value
    known = (NOISY_LINEAR, *get_args(BaselineKind))
    if isinstance(value, str) and value not in known and not names_image(value):
        raise ConfigError(f'baseline: "{value}" is not known', hint=suggest(value, known))
    return parse_baseline(value)
