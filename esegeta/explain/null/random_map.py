"""A random map: what a score gives to a method that says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.errors import ConfigError
from esegeta.explain.baseline import blur
from esegeta.explain.explainer import Explainer, RawMap, Traits, generator_for
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class RandomMap(Explainer):
    """Standard normal noise, which knows neither the network nor the image: a null competitor.

        a ~ N(0, 1) at each voxel of each channel, blurred if told to

    A score that does not tell a method from this one says nothing of the method. The sign means
    nothing.

    Args:
        sigma_mm: width of a Gaussian blur, for a random map as smooth as those of a method; the
            noise is standard normal again afterwards.
        seed: of the noise.

    Source: the random ranking of Hooker et al., A Benchmark for Interpretability Methods in Deep
    Neural Networks, 2019, section 4.
    """

    sigma_mm: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "random_map"
    traits: ClassVar[Traits] = Traits("null", stochastic=True, reads_target=False, unit="noise")

    def __post_init__(self) -> None:
        if self.sigma_mm < 0:
            raise ConfigError(f"random_map: sigma_mm: {self.sigma_mm:g} is below zero")

    @property
    def cost(self) -> str:
        """The network is not run."""
        return "0 F"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the noise."""
        x, spacing_mm = objective.volume.data, objective.volume.grid.spacing_mm
        noise = torch.randn(x.shape, generator=generator_for(x, self.seed), device=x.device)
        if self.sigma_mm > 0:
            noise = blur(noise, [self.sigma_mm / spacing for spacing in spacing_mm])
            noise = (noise - noise.mean()) / noise.std()
        return RawMap(noise)
