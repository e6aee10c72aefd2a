"""Maps that are written down instead of computed, over predictions that are given."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from esegeta.explain import Attribution, Saliency
from esegeta.explain.meaning import CONTRIBUTION
from esegeta.score import Judgement, Score, ScoreCache, ScoreContext
from esegeta.targets import Everywhere, Region, Target, VoxelTarget
from tests.builders import scene, volume
from tests.targets.cases import logits_of


def written_map(
    data: Tensor,
    predicted: Tensor,
    *,
    truth: Tensor | None = None,
    affine: np.ndarray | None = None,
    num_channels: int | None = None,
    over: Region | None = None,
    target: Target | None = None,
    sharing: Tensor | None = None,
) -> Attribution:
    """Return a map `A *S` of label "one" where a mask `*S` is what is predicted."""
    shape = tuple(predicted.shape)
    image = volume(shape, num_channels or len(data), affine=affine)
    at = scene(logits_of(predicted), truth=truth, of=image)
    wanted = target or VoxelTarget("one", over=over or Everywhere())
    return Attribution(
        data.float(), CONTRIBUTION, "written", {}, image, wanted.freeze(at), sharing=sharing
    )


def judged(score: Score, map_: Attribution, cache: ScoreCache | None = None) -> Judgement:
    """Return what a score says of a map; the network is not asked."""
    predictor = map_.target.scene.predictor
    return score.judge(map_, ScoreContext(predictor, Saliency(), cache or ScoreCache()))


def value_of(score: Score, map_: Attribution) -> float:
    """Return the one figure of a score."""
    (value,) = judged(score, map_).values.values()
    return value


def spots(shape: tuple[int, ...], values: dict[tuple[int, ...], float], rest: float = 0) -> Tensor:
    """Return a map `*S` that holds some values, and elsewhere the same."""
    map_ = torch.full(shape, float(rest))
    for place, value in values.items():
        map_[place] = value
    return map_


RAMP = torch.arange(1.0, 21.0).reshape(1, 4, 5)
"""A map in which each voxel holds more than the one before."""

ONE_VOXEL = spots((4, 5), {(1, 2): 1}) > 0
"""A structure of one voxel of the ramp, which holds 8 there."""
