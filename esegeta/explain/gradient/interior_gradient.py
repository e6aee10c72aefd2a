"""Interior gradients: the gradient at scaled-down copies of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.errors import ConfigError
from esegeta.explain.baseline import Baseline, parse_baseline
from esegeta.explain.explainer import Explainer, RawMap, Traits
from esegeta.explain.objective import Objective


@dataclass(frozen=True)
class InteriorGradient(Explainer):
    """The mean gradient at a few points between a baseline and the image.

        a = 1/n sum_i dR/dx (x' + alpha_i (x - x'))

    With the zero baseline these are alpha * x: copies where a saturated network is not yet flat.
    Positive: a brighter voxel raises the target there. Unit: target per unit of network input.

    Args:
        alphas: fractions of the way from the baseline to the image, 0 to 1; one for one map.
        baseline: zero, mean, minimum, blur, or an image file.

    Source: Sundararajan et al., Gradients of Counterfactuals, 2016, section 2.1. There the
    interior gradients of all alphas are looked at, or integrated; here a few are averaged.
    """

    alphas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    baseline: Baseline | str = "zero"

    name: ClassVar[str] = "interior_gradient"
    traits: ClassVar[Traits] = Traits("gradient", additive=True, unit="{target} / input unit")

    def __post_init__(self) -> None:
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise ConfigError(
                f"interior_gradient: alphas: {list(self.alphas)} must be numbers from 0 to 1",
                hint="such as alphas: [0.25, 0.5, 0.75, 1.0]",
            )
        object.__setattr__(self, "baseline", parse_baseline(self.baseline))

    @property
    def cost(self) -> str:
        """A forward and backward pass for each alpha."""
        return f"{len(self.alphas)} F + {len(self.alphas)} B"

    def attribute(self, objective: Objective) -> RawMap:
        """Return the mean gradient."""
        x = objective.volume.data
        start = parse_baseline(self.baseline).of(objective.volume)
        total = torch.zeros_like(x)
        for alpha in self.alphas:
            moved = objective.at(torch.lerp(start, x, alpha))
            total.add_(moved.gradient(), alpha=1 / len(self.alphas))
        return RawMap(total)
