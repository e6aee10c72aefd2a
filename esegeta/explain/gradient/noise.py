"""Noisy copies of the image, explained by any method and summarised: SmoothGrad and its kin."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    standard_deviation,
)
from esegeta.explain.gradient.saliency import Saliency
from esegeta.explain.meaning import Meaning
from esegeta.explain.objective import Objective
from esegeta.explain.standard_error import confidence


class RunningMoments:
    """The moments of a sequence of maps, updated map by map, in float64.

    Maps that are all equal have a variance of exactly zero.

    Args:
        order: the highest central moment wanted: 1 (the mean alone), 2 or 4. One tensor of the
            map's size is held for each moment.

    Source: Pebay, Formulas for Robust, One-Pass Parallel Computation of Covariances and
    Arbitrary-Order Statistical Moments, 2008, equation 2.1 with sets of one.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.count = 0
        self.mean = torch.zeros(())
        # Sums of the second, third and fourth powers of the distances from the mean.
        self._squares = torch.zeros(())
        self._cubes = torch.zeros(())
        self._fourths = torch.zeros(())

    def add(self, map_: Tensor) -> None:
        """Take in the next map."""
        map_ = map_.double()
        if self.count == 0:
            self.mean = torch.zeros_like(map_)
            self._squares = torch.zeros_like(map_ if self.order > 1 else map_.new_zeros(()))
            high = map_ if self.order > 2 else map_.new_zeros(())
            self._cubes, self._fourths = torch.zeros_like(high), torch.zeros_like(high)
        self.count += 1
        n = self.count
        gap = map_ - self.mean
        step = gap / n
        self.mean += step
        if self.order < 2:
            return
        growth = gap.mul_(step).mul_(n - 1)
        if self.order > 2:
            self._fourths += growth * step.square() * (n * n - 3 * n + 3)
            self._fourths += 6 * step.square() * self._squares - 4 * step * self._cubes
            self._cubes += growth * step * (n - 2) - 3 * step * self._squares
        self._squares += growth

    def variance(self) -> Tensor:
        """Return the mean square distance from the mean."""
        return self._squares / self.count

    def error_of_mean(self) -> Tensor:
        """Return the standard error of the mean; for two maps or more."""
        return (self.variance() / (self.count - 1)).sqrt()

    def error_of_variance(self) -> Tensor:
        """Return the standard error of the variance, whatever the maps' distribution.

            SE^2 = (m_4 - (n - 3) / (n - 1) m_2^2) / n * ((n - 1) / n)^2

        with the sample's own central moments m_2 and m_4, which few maps know only roughly.
        """
        n = self.count
        fourth = self._fourths / n
        spread = fourth - (n - 3) / (n - 1) * self.variance().square()
        return spread.clamp(min=0).div(n).sqrt() * ((n - 1) / n)


Statistic = Literal["smoothgrad", "smoothgrad_sq", "vargrad"]

LEAST_FOR_SPREAD: dict[Statistic, int] = {"smoothgrad": 2, "smoothgrad_sq": 2, "vargrad": 4}
ZERO_HINT = "the base method's map is zero in every copy, or (vargrad) the same; raise the noise"


@dataclass(frozen=True)
class NoisyCopies(Explainer):
    """What all methods that explain noisy copies of the image and summarise the maps share.

    Args:
        base: the method that explains each copy.
        samples: number of copies.
        noise: standard deviation of the Gaussian noise, in standard deviations of the image.
        seed: random seed for the noise, and for the draws of a stochastic base, which differ in
            each copy.
        spread: also return the standard error of the map.
    """

    base: Explainer = field(default_factory=Saliency)
    samples: int = 16
    noise: float = 0.1
    seed: int = 0
    spread: bool = False

    zero_hint: ClassVar[str] = ZERO_HINT

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise <= 0:
            raise ConfigError(
                f"{self.name}: samples: {self.samples}, noise: {self.noise:g} must be above zero"
            )
        if self.statistic == "vargrad" and self.samples < 2:
            raise ConfigError(f"{self.name}: samples: one copy has no variance; use at least 2")
        least = LEAST_FOR_SPREAD[self.statistic]
        if self.spread and self.samples < least:
            raise ConfigError(
                f"{self.name}: spread: {self.samples} samples have no standard error",
                hint=f"use at least {least}",
            )

    @property
    @abstractmethod
    def statistic(self) -> Statistic:
        """How the copies' maps are summarised."""

    @property
    def cost(self) -> Cost:
        """The base method's cost, once per copy."""
        return self.samples * self.base.cost.at_another_image()

    @property
    def meaning(self) -> Meaning:
        """That of the base method's map, or of its square or variance."""
        base = self.base.meaning
        if self.statistic == "smoothgrad_sq":
            return base.squared()
        return base.variance() if self.statistic == "vargrad" else base

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean, the mean square or the variance of the copies' maps."""
        varies = self.statistic == "vargrad"
        order = {(False, False): 1, (False, True): 2, (True, False): 2, (True, True): 4}
        moments = RunningMoments(order[varies, self.spread])
        raw_maps: list[RawMap] = []
        for map_ in self.maps(objective, raw_maps):
            moments.add(map_.square_() if self.statistic == "smoothgrad_sq" else map_)
        error: Tensor | None = None
        if self.spread:
            error = moments.error_of_variance() if varies else moments.error_of_mean()
        found = summarise(moments.variance() if varies else moments.mean, error, raw_maps)
        if error is None:
            return found
        return replace(found, more={**found.more, **confidence(self.samples - 1)})

    def maps(self, objective: Objective, raw_maps: list[RawMap]) -> Iterator[Tensor]:
        """Yield the base method's map of each noisy copy, `A *S`, in float64.

        All but the map of what it returns is added to `raw_maps`.
        """
        x = objective.volume.data
        generator = generator_for(x, self.seed)
        spread = self.noise * standard_deviation(x)
        for base in self.bases():
            bump = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            raw = base.map_of(objective.at(x + spread * bump))
            empty = raw.data.new_zeros(0)
            raw_maps.append(replace(raw, data=empty, standard_error=None, layer_maps=(), ways=()))
            yield raw.data.to(torch.float64, copy=True)

    def bases(self) -> Iterator[Explainer]:
        """Yield the method that explains each copy; a stochastic one with a seed of its own.

        One seed for all copies would give all of them the base's same draws, whose error the mean
        over copies would then not average out.
        """
        if not self.base.traits.stochastic:
            yield from [self.base] * self.samples
            return
        base: Any = self.base
        # Seeded by text: neither the noise's stream nor that of the base under its own seed.
        draws = random.Random(f"{self.seed} {base.seed}")
        for _ in range(self.samples):
            yield replace(base, seed=draws.getrandbits(62))


@dataclass(frozen=True)
class NoiseTunnel(NoisyCopies):
    """A summary of any method's maps over noisy copies of the image.

        smoothgrad: mean of phi(x + e_i)    smoothgrad_sq: mean of phi(x + e_i)^2
        vargrad: mean of (phi(x + e_i) - their mean)^2,    e_i ~ N(0, (noise * std(x))^2)

    The first has the base method's sign and unit; the others are never negative and squared.

    Args:
        base: the method that explains each copy.
        samples: number of copies n.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: random seed for the noise, and for the draws of a stochastic base, which differ in
            each copy.
        spread: also return the standard error of the map.
        kind: smoothgrad, smoothgrad_sq or vargrad.

    Source: see `smoothgrad`, `smoothgrad_sq` and `vargrad`, its three kinds as methods.
    """

    kind: Statistic = "smoothgrad"

    name: ClassVar[str] = "noise_tunnel"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True)

    @property
    def statistic(self) -> Statistic:
        """The kind that was asked for."""
        return self.kind


@dataclass(frozen=True)
class SmoothGrad(NoisyCopies):
    """The mean of a method's maps over noisy copies of the image.

        a = 1/n sum_i phi(x + e_i),   e_i ~ N(0, (noise * std(x))^2)

    Sign and unit are those of the base method.

    Args:
        base: the method that explains each copy.
        samples: number of copies n.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: random seed for the noise, and for the draws of a stochastic base, which differ in
            each copy.
        spread: also return the standard error of the map.

    Source: Smilkov et al., SmoothGrad, 2017, section 3; there the noise is in units of the
    image's range, which one bright voxel would set.
    """

    name: ClassVar[str] = "smoothgrad"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True)

    @property
    def statistic(self) -> Statistic:
        """The mean."""
        return "smoothgrad"


@dataclass(frozen=True)
class SmoothGradSquared(NoisyCopies):
    """The mean of the squares of a method's maps over noisy copies of the image.

        a = 1/n sum_i phi(x + e_i)^2

    Never negative: strength without sign. Unit: the base method's, squared.

    Args:
        base: the method that explains each copy.
        samples: number of copies n.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: random seed for the noise, and for the draws of a stochastic base, which differ in
            each copy.
        spread: also return the standard error of the map.

    Source: Hooker et al., A Benchmark for Interpretability Methods, 2019, section 4.
    """

    name: ClassVar[str] = "smoothgrad_sq"
    traits: ClassVar[Traits] = Traits(
        "gradient",
        stochastic=True,
    )

    @property
    def statistic(self) -> Statistic:
        """The mean square."""
        return "smoothgrad_sq"


@dataclass(frozen=True)
class VarGrad(NoisyCopies):
    """The variance of a method's maps over noisy copies of the image.

        a = 1/n sum_i (phi(x + e_i) - mean)^2

    Never negative: where the map is unstable. Unit: the base method's, squared.

    Args:
        base: the method that explains each copy.
        samples: number of copies n, at least 2.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: random seed for the noise, and for the draws of a stochastic base, which differ in
            each copy.
        spread: also return the standard error, from the copies' own fourth moments: rough, and
            rather low, for few copies; needs at least 4.

    Source: Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity
    to Parameter Values, 2018, section 2.
    """

    name: ClassVar[str] = "vargrad"
    traits: ClassVar[Traits] = Traits(
        "gradient",
        stochastic=True,
    )
    zero_hint: ClassVar[str] = "the base method's map does not change under this noise; raise it"

    @property
    def statistic(self) -> Statistic:
        """The variance."""
        return "vargrad"


def summarise(data: Tensor, error: Tensor | None, raw_maps: Sequence[RawMap]) -> RawMap:
    """Return a map with the worst completeness of its copies and the first of their warnings."""
    gaps = [raw for raw in raw_maps if raw.completeness_relative is not None]
    worst = max(gaps, key=lambda raw: raw.completeness_relative or 0.0, default=RawMap(data))
    warnings = [f"in a noisy copy: {text}" for raw in raw_maps for text in raw.warnings]
    return RawMap(
        data,
        worst.completeness_delta,
        worst.completeness_relative,
        more=raw_maps[0].more if raw_maps else {},
        warnings=tuple(warnings[:1]),
        standard_error=error,
    )
