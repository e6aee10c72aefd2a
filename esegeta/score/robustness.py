"""Robustness: does the map stay when the image moves a little, and turn when it is mirrored?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar
from weakref import ref

import torch
from jaxtyping import Float64
from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import (
    Attribution,
    Baseline,
    Explainer,
    Features,
    Objective,
    generator_for,
    standard_deviation,
)
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext
from esegeta.score.similarity import cosine, spearman
from esegeta.volume import Volume


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

    @classmethod
    def aspect(cls) -> str:
        """Return the aspect that the largest and the mean change share."""
        return "sensitivity"

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
            change = context.explainer.map_of(moved).data - attribution.data
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


@dataclass(frozen=True)
class ConsistencyUnderFlips(Score):
    """How similar the map is to that of the mirrored image, mirrored back.

        consistency_under_flips = mean over axes g of  cos(phi(x), g phi(g x))

    and the same with the rank correlation. -1 to 1, higher is better; 1 for a network that does not
    tell left from right. Mask, ground truth and files on the image's grid are flipped too; all
    channels are compared. A stochastic method draws anew for each image: its noise counts too.

    Args:
        axes: spatial axes to flip, one at a time, from 0; by default all longer than one voxel.

    Raises:
        ConfigError: the image has no such axis.
        MapError: the map of a flipped image is not finite.

    Source: Crabbe and van der Schaar, Evaluating the Robustness of Interpretability Methods
    through Explanation Invariance and Equivariance, 2023, explanation equivariance.
    """

    axes: tuple[int, ...] | None = None

    name: ClassVar[str] = "consistency_under_flips"
    family: ClassVar[str] = "robustness"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("consistency_under_flips", "higher", low=-1.0, high=1.0),
        Metric("consistency_under_flips_spearman", "higher", low=-1.0, high=1.0),
    )

    def __post_init__(self) -> None:
        if self.axes is None:
            return
        axes = list(self.axes)
        if not axes or len(set(axes)) < len(axes) or not set(axes) <= {0, 1, 2}:
            raise ConfigError(
                f"{self.name}: axes: {axes}", hint="name each of 0, 1, 2 at most once, or none"
            )

    def _judge(self, attribution: Attribution, context: ScoreContext) -> Judgement:
        """Return the mean likeness over the axes, and a curve with that of each axis."""
        axes = self._axes_of(attribution.volume)
        if not axes:
            return self.undefined("no axis of the image is longer than one voxel")
        maps = [self._explain_flipped(attribution, context, axis) for axis in axes]
        found = {
            self.metrics[0].name: [cosine(attribution.data, other) for other in maps],
            self.metrics[1].name: [spearman(attribution.data, other) for other in maps],
        }
        why = "a constant map has no ranks, and a map of zeros has no direction"
        values = {name: math.fsum(of_axes) / len(axes) for name, of_axes in found.items()}
        return Judgement(
            values,
            {name: why for name, value in values.items() if math.isnan(value)},
            tuple(_curve(name, axes, of_axes) for name, of_axes in found.items()),
        )

    def _axes_of(self, volume: Volume) -> tuple[int, ...]:
        shape = volume.grid.shape
        if self.axes is None:
            return tuple(axis for axis, length in enumerate(shape) if length > 1)
        if max(self.axes) >= len(shape):
            raise ConfigError(
                f"{self.name}: axes: {list(self.axes)} for a {len(shape)}D image",
                hint=f"its axes are 0 to {len(shape) - 1}",
            )
        return self.axes

    def _explain_flipped(
        self, attribution: Attribution, context: ScoreContext, axis: int
    ) -> Tensor:
        """Return the map of the flipped image, flipped back."""
        target = attribution.target.flipped(axis)
        same = attribution.volume is attribution.target.scene.volume
        volume = target.scene.volume if same else attribution.volume.flipped(axis)
        objective = Objective.of(context.predictor, target, volume)
        map_ = flipped_method(context.explainer, axis).map_of(objective).data
        if not bool(map_.isfinite().all()):
            raise MapError(
                f"{self.name}: the map of the image flipped along axis {axis} is NaN or Inf"
            )
        return map_.flip(axis + 1)


def _curve(name: str, axes: Sequence[int], values: Sequence[float]) -> Curve:
    ticks = tuple(f"axis {axis}" for axis in axes)
    places = tuple(float(axis) for axis in axes)
    return Curve(name, "flipped axis", "similarity of the maps", places, tuple(values), ticks)


def flipped_method(explainer: Explainer, axis: int) -> Explainer:
    """Return a method adapted to the image with one spatial axis reversed.

    Images of baselines and label maps of features lie on the image's grid and are flipped with it.
    All else stays: what a method finds in the image by itself, it also finds in the flipped one.
    """
    changes: dict[str, Any] = {}
    for item in fields(explainer):
        value = getattr(explainer, item.name)
        moved = _flipped(value, axis)
        if moved is not value:
            changes[item.name] = moved
    return replace(explainer, **changes) if changes else explainer


def _flipped(value: Any, axis: int) -> Any:
    if isinstance(value, Explainer):
        return flipped_method(value, axis)
    if isinstance(value, (Baseline, Features)):
        return value.flipped(axis)
    if isinstance(value, tuple) and any(isinstance(entry, Baseline) for entry in value):
        return tuple(_flipped(entry, axis) for entry in value)
    return value
