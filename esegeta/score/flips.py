"""Consistency under flips: is the map of the mirrored image the mirrored map?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from esegeta.errors import ConfigError, MapError
from esegeta.explain import Attribution, Objective, flipped_method
from esegeta.score.score import Curve, Judgement, Metric, Score, ScoreContext
from esegeta.score.similarity import cosine, spearman
from esegeta.volume import Volume


@dataclass(frozen=True)
class ConsistencyUnderFlips(Score):
    """How similar the map is to that of the mirrored image, mirrored back.

        consistency_under_flips = mean over axes g of  cos(phi(x), g phi(g x))

    and the same with the rank correlation. -1 to 1, higher is better; 1 for a network that does not
    know left from right. Mask, ground truth and files on the image's grid are flipped along, all
    channels are compared. A stochastic method draws anew for other voxels: its noise counts too.

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
                f"{self.name}: axes: {axes}", hint="name each of 0, 1, 2 once at most, or none"
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
        map_ = flipped_method(context.explainer, axis).attribute(objective).data
        if not bool(map_.isfinite().all()):
            raise MapError(
                f"{self.name}: the map of the image flipped along axis {axis} is NaN or Inf"
            )
        return map_.flip(axis + 1)


def _curve(name: str, axes: Sequence[int], values: Sequence[float]) -> Curve:
    ticks = tuple(f"axis {axis}" for axis in axes)
    places = tuple(float(axis) for axis in axes)
    return Curve(name, "flipped axis", "similarity of the maps", places, tuple(values), ticks)
