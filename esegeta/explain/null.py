"""Null competitors, which know nothing about the network: the edges of the image, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from esegeta.axes import Image
from esegeta.errors import ConfigError
from esegeta.explain.baseline import blur
from esegeta.explain.cost import Cost
from esegeta.explain.explainer import Explainer, RawMap, Traits, generator_for
from esegeta.explain.meaning import EDGES, NOISE, Meaning
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class EdgeMap(Explainer):
    """The image's gradient magnitude, independent of the network: a null competitor.

        a = |grad x|, central differences in mm, each channel for itself

    Many maps look like edges; one that scores no better than this one may be no more than that.
    Never negative.

    Source: the edge detector of Adebayo et al., Sanity Checks for Saliency Maps, 2018, section 5.
    """

    name: ClassVar[str] = "edge_map"
    traits: ClassVar[Traits] = Traits("null", reads_target=False)
    meaning: ClassVar[Meaning] = EDGES
    zero_hint: ClassVar[str] = "the image is the same everywhere: it has no edges"

    @property
    def cost(self) -> Cost:
        """The network is not run."""
        return Cost.of()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the magnitude of the image's gradient."""
        return RawMap(gradient_magnitude(objective.volume.data, objective.volume.grid.spacing_mm))


def gradient_magnitude(data: Image, spacing_mm: tuple[float, ...]) -> Image:
    """Return the length of the gradient of `C *S`, per mm; one-sided at the borders."""
    squares: Tensor = torch.zeros_like(data)
    for axis, spacing in enumerate(spacing_mm, start=1):
        if data.shape[axis] > 1:
            (slope,) = torch.gradient(data, spacing=spacing, dim=axis)
            squares += slope.square()
    return squares.sqrt()


@dataclass(frozen=True)
class RandomMap(Explainer):
    """Standard normal noise, independent of the network and the image: a null competitor.

        a ~ N(0, 1) at each voxel of each channel, blurred if `sigma_mm` says so

    A score that cannot separate a method from this one says nothing about the method. The sign
    means nothing.

    Args:
        sigma_mm: width in mm of a Gaussian blur, for a random map as smooth as those of a method;
            the noise is standard normal again afterwards.
        seed: random seed for the noise.

    Source: the random ranking of Hooker et al., A Benchmark for Interpretability Methods in Deep
    Neural Networks, 2019, section 4.
    """

    sigma_mm: float = 0.0
    seed: int = 0

    name: ClassVar[str] = "random_map"
    traits: ClassVar[Traits] = Traits("null", stochastic=True, reads_target=False)
    meaning: ClassVar[Meaning] = NOISE

    def __post_init__(self) -> None:
        if self.sigma_mm < 0:
            raise ConfigError(f"random_map: sigma_mm: {self.sigma_mm:g} must be 0 or more")

    @property
    def cost(self) -> Cost:
        """The network is not run."""
        return Cost.of()

    def attribute(self, objective: Objective) -> RawMap:
        """Return the noise."""
        x, spacing_mm = objective.volume.data, objective.volume.grid.spacing_mm
        noise = torch.randn(x.shape, generator=generator_for(x, self.seed), device=x.device)
        if self.sigma_mm > 0:
            noise = blur(noise, [self.sigma_mm / spacing for spacing in spacing_mm])
            noise = (noise - noise.mean()) / noise.std()
        return RawMap(noise)


NULL: dict[str, type[Explainer]] = {
    "random_map": RandomMap,
    "edge_map": EdgeMap,
}
"""Null competitors by the name that configs use."""
