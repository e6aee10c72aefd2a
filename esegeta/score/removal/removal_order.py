"""From a map to nested removals: which parts go first, in how many steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from esegeta.axes import Mask
from esegeta.errors import ConfigError
from esegeta.explain import (
    Attribution,
    Coalitions,
    Features,
    Objective,
    Partition,
    RankBy,
    parse_features,
    relevance,
    shuffled_order,
)
from esegeta.score.removal.removals import Removals, removals, sums_by_part
from esegeta.score.removal.replacement import Replacement, parse_replacement
from esegeta.score.score import Score, ScoreContext

VOXELS = "voxels"


@dataclass(frozen=True, eq=False)
class RemovalOrder:
    """Parts of an image in the order of a map, ready to be removed step by step.

    Args:
        removals: target of images with removed parts.
        order: all parts, the most relevant first.
        steps: number of steps from the whole image to nothing.
    """

    removals: Removals
    order: Int[Tensor, " N"]
    steps: int

    def without_first(self) -> Coalitions:
        """Return the target after 0, 1, ... steps of removing the most relevant parts."""
        return self._nested(self.order)

    def without_last(self) -> Coalitions:
        """Return the same for the least relevant parts."""
        return self._nested(self.order.flip(0))

    def with_first(self) -> Coalitions:
        """Return the target after 0, 1, ... steps of putting the most relevant parts in."""
        return ~self.without_first()

    def with_last(self) -> Coalitions:
        """Return the same for the least relevant parts."""
        return ~self.without_last()

    def share_removed(self, coalitions: Coalitions) -> Float64[Tensor, " M"]:
        """Return the share of the image that each coalition lacks, 0..1."""
        sizes = self.removals.partition.sizes.cpu()
        return (~coalitions).double() @ sizes / sizes.sum()

    def _nested(self, order: Tensor) -> Coalitions:
        num_parts, num_steps = len(order), min(self.steps, len(order))
        place = torch.empty(num_parts, dtype=torch.long)
        place[order] = torch.arange(num_parts)
        gone = torch.arange(num_steps + 1) * num_parts // num_steps
        return place[None] >= gone[:, None]


def removal_order(
    attribution: Attribution,
    context: ScoreContext,
    *,
    features: Features | str,
    replacement: Replacement,
    steps: int,
    rank_by: RankBy = "auto",
    seed: int = 0,
    objective: Objective | None = None,
) -> RemovalOrder:
    """Return the removal order of a map.

    Args:
        attribution: the map.
        context: context of the score.
        features: parts of the image, or `voxels`.
        replacement: what takes the place of what is removed.
        steps: number of steps from the whole image to nothing.
        rank_by: see `relevance`.
        seed: seed of the order among parts of equal relevance.
        objective: objective to follow, in place of the map's own.
    """
    height = relevance(attribution, rank_by)
    if features == VOXELS:
        inside = attribution.volume.inside
        labels = rank_in_steps(height.sum(dim=0), steps, seed=seed, inside=inside)
        count = int(labels.max()) + 1
        partition = Partition(labels, tuple(f"step {place + 1}" for place in range(count)))
        watched = context.objective(attribution) if objective is None else objective
        return RemovalOrder(removals(watched, partition, replacement), torch.arange(count), steps)
    shared = removals_of(
        attribution, context, features=features, replacement=replacement, objective=objective
    )
    sizes = shared.partition.sizes
    mean = sums_by_part(height, shared.partition) / sizes.clamp(min=1)
    return RemovalOrder(shared, shuffled_order(mean, seed=seed).cpu(), steps)


def removals_of(
    attribution: Attribution,
    context: ScoreContext,
    *,
    features: Features | str,
    replacement: Replacement,
    objective: Objective | None = None,
) -> Removals:
    """Return the removals of parts of the map's image, made once for all scores and methods.

    Args:
        attribution: the map.
        context: context of the score.
        features: parts of the image.
        replacement: what takes the place of what is removed.
        objective: objective to follow, in place of the map's own objective; one per target.
    """
    parts, volume = parse_features(features), attribution.volume
    # Padding is no part of the image: it is neither removed nor counted.
    partition = context.cache.once(
        ("partition", parts), lambda: parts.of(volume).within(volume.inside)
    )
    watched = "map" if objective is None else "another"
    return context.cache.once(
        ("removals", watched, parts, replacement),
        lambda: removals(objective or context.objective(attribution), partition, replacement),
    )


def rank_in_steps(
    heights: Float[Tensor, "*S"], steps: int, *, seed: int, inside: Mask | None = None
) -> Int[Tensor, "*S"]:
    """Return the step in which each voxel goes, 0 for the highest; all steps are equally large.

    Voxels that are not `inside` never go: -1.
    """
    if inside is not None:
        result = torch.full(heights.shape, -1, dtype=torch.int32, device=heights.device)
        result[inside] = rank_in_steps(heights[inside], steps, seed=seed)
        return result
    flat = heights.flatten()
    order = shuffled_order(flat, seed=seed)
    step = torch.empty(len(flat), dtype=torch.int32, device=flat.device)
    places = torch.arange(len(flat), device=flat.device)
    step[order] = (places * min(steps, len(flat)) // len(flat)).to(torch.int32)
    return step.reshape(heights.shape)


RESOLUTION = 1e-6
"""Changes of a target below this fraction of it are rounding."""


@dataclass(frozen=True)
class OverParts(Score):
    """Shared parameters of scores that remove parts of the image.

    Args:
        features: the parts: supervoxels, blocks, a label map, a block of keys, or `voxels`.
        baseline: what takes their place: zero, mean, minimum, blur, noisy_linear, or an image.
        steps: number of steps from the whole image to nothing.
        rank_by: `value` or `magnitude` of the map; `auto`: magnitude for slopes, else value.
        seed: random seed for the order of ties.
    """

    features: Features | str = "supervoxels"
    baseline: Replacement | str = "mean"
    steps: int = 20
    rank_by: RankBy = "auto"
    seed: int = 0

    family: ClassVar[str] = "faithfulness"

    def __post_init__(self) -> None:
        if self.features != VOXELS:
            object.__setattr__(self, "features", parse_features(self.features))
        object.__setattr__(self, "baseline", parse_replacement(self.baseline))
        if self.steps < 2:
            raise ConfigError(f"{self.name}: steps: {self.steps}: give at least 2")

    def removal_order(
        self, attribution: Attribution, context: ScoreContext, objective: Objective | None = None
    ) -> RemovalOrder:
        """Return the parts in the order of the map, removed from its objective or from another."""
        return removal_order(
            attribution,
            context,
            features=self.features,
            replacement=parse_replacement(self.baseline),
            steps=self.steps,
            rank_by=self.rank_by,
            seed=self.seed,
            objective=objective,
        )


def area(x: Float64[Tensor, " M"], y: Float64[Tensor, " M"]) -> float:
    """Return the area under a curve by trapezoids."""
    return float(torch.trapezoid(y, x))


def is_still(start: float, end: float) -> bool:
    """Tell whether a target does not move from start to end, except by rounding."""
    return abs(start - end) <= RESOLUTION * max(abs(start), abs(end))
