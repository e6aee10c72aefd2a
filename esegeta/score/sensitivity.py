"""Sensitivity: how much the map changes when the image hardly does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, generator_for, standard_deviation
from esegeta.score.score import Judgement, Quality, Score, ScoreContext


@dataclass(frozen=True)
class SensitivityMax(Score):
    """The largest relative change of the map within a small box around the image.

        sensitivity_max = max_i |phi(x + d_i) - phi(x)| / |phi(x)|,   |d_i|_inf <= radius * std(x)

    0 or more, lower is steadier. The target's mask stays frozen.

    Args:
        radius: of the box, in standard deviations of the image.
        samples: uniform draws from the box; each costs one explanation.
        seed: of the draws.

    Raises:
        MapError: the map is zero everywhere, or that of a perturbed image is not finite.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, 2019, definition 3.1,
    estimated by sampling, with the norm ratio as captum's `sensitivity_max` has it.
    """

    radius: float = 0.02
    samples: int = 10
    seed: int = 0

    name: ClassVar[str] = "sensitivity_max"
    family: ClassVar[str] = "robustness"
    qualities: ClassVar[tuple[Quality, ...]] = (Quality("sensitivity_max", "lower"),)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.radius <= 0:
            raise ConfigError("sensitivity_max: samples and radius must be above zero")

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the largest relative change."""
        norm = float(attribution.data.double().norm())
        objective = context.objective(attribution)
        x = attribution.volume.data
        generator = generator_for(x, self.seed)
        bound = self.radius * standard_deviation(x)
        largest = 0.0
        for _ in range(self.samples):
            draw = torch.rand(x.shape, generator=generator, device=x.device)
            moved = objective.at(x + bound * (2 * draw - 1))
            change = context.explainer.attribute(moved).data - attribution.data
            ratio = float(change.double().norm()) / norm
            if not math.isfinite(ratio):
                raise MapError("sensitivity_max: the map of a perturbed image is NaN or Inf")
            largest = max(largest, ratio)
        return Judgement({"sensitivity_max": largest})
