"""Sensitivity: how much the map changes when the image hardly does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar
from weakref import ref

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, generator_for, standard_deviation
from esegeta.score.score import Judgement, Metric, Score, ScoreContext


@dataclass(frozen=True)
class Sensitivity(Score):
    """What both figures share: the draws, and the explanations of them, made once for both."""

    radius: float = 0.02
    samples: int = 10
    seed: int = 0

    family: ClassVar[str] = "robustness"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.radius <= 0:
            raise ConfigError(f"{self.name}: samples and radius must be above zero")

    def changes(
        self, attribution: Attribution, context: ScoreContext
    ) -> Float64[Tensor, " samples"]:
        """Return `|phi(x + d_i) - phi(x)| / |phi(x)|` of each draw.

        Raises:
            MapError: the map of a perturbed image is not finite.
        """
        draws = (self.radius, self.samples, self.seed)
        # The map is known by its identity, and is not kept alive by having been scored.
        key = ("sensitivity", ref(attribution), context.predictor, context.explainer, draws)
        return context.cache.once(key, lambda: self._explain(attribution, context))

    def _explain(self, attribution: Attribution, context: ScoreContext) -> Tensor:
        objective = context.objective(attribution)
        x = attribution.volume.data
        generator = generator_for(x, self.seed)
        bound = self.radius * standard_deviation(x)
        norm = float(attribution.data.double().norm())
        ratios = []
        for _ in range(self.samples):
            draw = torch.rand(x.shape, generator=generator, device=x.device)
            moved = objective.at(x + bound * (2 * draw - 1))
            change = context.explainer.attribute(moved).data - attribution.data
            ratio = float(change.double().norm()) / norm
            if not math.isfinite(ratio):
                raise MapError(f"{self.name}: the map of a perturbed image is NaN or Inf")
            ratios.append(ratio)
        return torch.tensor(ratios, dtype=torch.float64)


@dataclass(frozen=True)
class SensitivityMax(Sensitivity):
    """The largest relative change of the map within a small box around the image.

        sensitivity_max = max_i |phi(x + d_i) - phi(x)| / |phi(x)|,   |d_i|_inf <= radius * std(x)

    0 or more, lower is steadier. The target's mask stays frozen. With `sensitivity_avg` of the
    same parameters, the explanations are made once for both.

    Args:
        radius: radius of the box, in standard deviations of the image.
        samples: uniform draws from the box; each costs one explanation.
        seed: random seed for the draws.

    Raises:
        MapError: the map of a perturbed image is not finite.

    Source: Yeh et al., On the (In)fidelity and Sensitivity of Explanations, 2019, definition 3.1,
    estimated by sampling, with the norm ratio as captum's `sensitivity_max` has it.
    """

    name: ClassVar[str] = "sensitivity_max"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("sensitivity_max", "lower"),)

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the largest relative change."""
        return Judgement({self.name: float(self.changes(attribution, context).max())})


@dataclass(frozen=True)
class SensitivityAvg(Sensitivity):
    """The mean relative change of the map within a small box around the image.

        sensitivity_avg = mean_i |phi(x + d_i) - phi(x)| / |phi(x)|,   |d_i|_inf <= radius * std(x)

    0 or more, lower is steadier; never above `sensitivity_max`, whose draws it shares when the
    parameters are the same.

    Args:
        radius: radius of the box, in standard deviations of the image.
        samples: uniform draws from the box; each costs one explanation.
        seed: random seed for the draws.

    Raises:
        MapError: the map of a perturbed image is not finite.

    Source: Bhatt et al., Evaluating and Aggregating Feature-based Model Explanations, 2020,
    average sensitivity, over the box and with the norm ratio of `sensitivity_max`.
    """

    name: ClassVar[str] = "sensitivity_avg"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("sensitivity_avg", "lower"),)

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean relative change."""
        return Judgement({self.name: float(self.changes(attribution, context).mean())})
