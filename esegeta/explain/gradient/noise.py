"""Maps averaged over noisy copies of the image: SmoothGrad and its kin, over any method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.errors import ConfigError
from esegeta.explain.explainer import (
    Explainer,
    RawMap,
    Traits,
    generator_for,
    standard_deviation,
)
from esegeta.explain.gradient.saliency import Saliency
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class NoiseTunnel(Explainer):
    """Shared parameters of methods that explain noisy copies of the image.

    Args:
        base: the method that explains each copy.
        samples: number of copies.
        noise: standard deviation of the Gaussian noise, in standard deviations of the image.
        seed: of the noise.
    """

    base: Explainer = field(default_factory=Saliency)
    samples: int = 16
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise <= 0:
            raise ConfigError(
                f"{self.name}: samples: {self.samples}, noise: {self.noise:g} must be above zero"
            )

    @property
    def cost(self) -> str:
        """The base method's, once a copy."""
        return f"{self.samples} x ({self.base.cost})"

    def unit_for(self, target_unit: str) -> str:
        """Return the unit of the base method's map, where `{base}` stands for it."""
        return self.traits.unit.format(base=self.base.unit_for(target_unit))

    def maps(self, objective: Objective, heard: list[RawMap]) -> Iterator[Tensor]:
        """Yield the base method's map of each noisy copy, `A *S`, in float64.

        What it has to say beside the map is added to `heard`, without the map.
        """
        x = objective.volume.data
        generator = generator_for(x, self.seed)
        spread = self.noise * standard_deviation(x)
        for _ in range(self.samples):
            bump = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
            moved = objective.at(x + spread * bump)
            raw = self.base.attribute(moved)
            heard.append(replace(raw, data=raw.data.new_zeros(0)))
            yield raw.data.double()


@dataclass(frozen=True)
class SmoothGrad(NoiseTunnel):
    """The mean of a method's maps over noisy copies of the image.

        a = 1/n sum_i phi(x + e_i),   e_i ~ N(0, (noise * std(x))^2)

    Sign and unit are those of the base method.

    Args:
        base: the method that explains each copy.
        samples: number of copies n.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: of the noise.

    Source: Smilkov et al., SmoothGrad, 2017, section 3; there the noise is in units of the
    image's range, which one bright voxel would set.
    """

    name: ClassVar[str] = "smoothgrad"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True, unit="{base}")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean map."""
        heard: list[RawMap] = []
        return summarise(sum_maps(self.maps(objective, heard)) / self.samples, heard)


@dataclass(frozen=True)
class SmoothGradSquared(NoiseTunnel):
    """The mean of the squares of a method's maps over noisy copies of the image.

        a = 1/n sum_i phi(x + e_i)^2

    Never negative: strength without sign. Unit: the base method's, squared.

    Args:
        base: the method that explains each copy.
        samples: number of copies n.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: of the noise.

    Source: Hooker et al., A Benchmark for Interpretability Methods, 2019, section 4.
    """

    name: ClassVar[str] = "smoothgrad_sq"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True, unit="({base})^2")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean squared map."""
        heard: list[RawMap] = []
        squares = (map_ * map_ for map_ in self.maps(objective, heard))
        return summarise(sum_maps(squares) / self.samples, heard)


@dataclass(frozen=True)
class VarGrad(NoiseTunnel):
    """The variance of a method's maps over noisy copies of the image.

        a = 1/n sum_i (phi(x + e_i) - mean)^2

    Never negative: where the map is unstable. Unit: the base method's, squared.

    Args:
        base: the method that explains each copy.
        samples: number of copies n, at least 2.
        noise: standard deviation of the noise, in standard deviations of the image.
        seed: of the noise.

    Source: Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity
    to Parameter Values, 2018, section 2.
    """

    name: ClassVar[str] = "vargrad"
    traits: ClassVar[Traits] = Traits("gradient", stochastic=True, unit="({base})^2")
    zero_hint: ClassVar[str] = "the base method's map does not change under this noise; raise it"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 2:
            raise ConfigError("vargrad: samples: one copy has no variance; use at least 2")

    def attribute(self, objective: Objective) -> RawMap:
        """Return the variance map, by Welford's update: two equal maps give exactly zero."""
        heard: list[RawMap] = []
        mean: Tensor | None = None
        squares = torch.zeros(())
        for count, map_ in enumerate(self.maps(objective, heard), start=1):
            if mean is None:
                mean, squares = map_, torch.zeros_like(map_)
                continue
            gap = map_ - mean
            mean = mean + gap / count
            squares = squares + gap * (map_ - mean)
        return summarise(squares / self.samples, heard)


def summarise(data: Tensor, heard: Sequence[RawMap]) -> RawMap:
    """Return a map with the worst completeness of its copies and the first of their warnings."""
    gaps = [raw for raw in heard if raw.completeness_relative is not None]
    worst = max(gaps, key=lambda raw: raw.completeness_relative or 0.0, default=RawMap(data))
    warnings = [f"in a noisy copy: {text}" for raw in heard for text in raw.warnings]
    return RawMap(
        data,
        worst.completeness_delta,
        worst.completeness_relative,
        more=heard[0].more if heard else {},
        warnings=tuple(warnings[:1]),
    )


def sum_maps(maps: Iterator[Tensor]) -> Tensor:
    """Add maps up one at a time; at most two are held."""
    total = next(maps)
    for map_ in maps:
        total = total + map_
    return total
