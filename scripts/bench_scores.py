"""What `bench.py` measures of scores: curves against the plain predictor, costs and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from esegeta.explain import Attribution, Features, Objective, RandomMap, Saliency
from esegeta.predict import Predictor
from esegeta.score import SCORES, Score, ScoreContext, SensitivityMax
from esegeta.score.removal import parse_replacement, removal_order
from esegeta.score.removal.removal_order import RemovalOrder
from esegeta.targets import FrozenTarget, Scene
from esegeta.volume import Volume

if TYPE_CHECKING:
    from bench_work import Setting

STEPS = 50
SENSITIVITY_SAMPLES = 10

SMALLEST: dict[str, object] = {
    "samples": 3,
    "steps": 4,
    "sizes": 2,
    "max_layers": 2,
    "features": Features("blocks", side_mm=24.0),
}
"""Cheap values of these fields, wherever a score has them; they do not change its memory."""


def random_ladder(
    predictor: Predictor, volume: Volume, target: FrozenTarget, features: Features
) -> RemovalOrder:
    """Return the ladder of a random order over supervoxels, which both sides make in their time."""
    order = RandomMap().explain(predictor, volume, target)
    context = ScoreContext(predictor, RandomMap())
    zero = parse_replacement("zero")
    return removal_order(order, context, features=features, replacement=zero, steps=STEPS)


def run_curve(setting: Setting, features: Features) -> Tensor:
    """Return the target along the curve, of the windows that it touches."""
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    rungs = random_ladder(setting.predictor, setting.volume, frozen, features)
    return rungs.removals.values(rungs.without_first())


def run_plain_curve(
    setting: Setting, features: Features, function: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the same curve, each image predicted whole."""
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    rungs = random_ladder(setting.predictor, setting.volume, frozen, features)
    with torch.no_grad():
        values = [
            function(rungs.removals.image(row)[None]).double().cpu()
            for row in rungs.without_first()
        ]
    return torch.cat(values)


def explained(setting: Setting) -> tuple[Attribution, ScoreContext]:
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    attribution = Saliency().explain(setting.predictor, setting.volume, frozen)
    return attribution, ScoreContext(setting.predictor, Saliency())


def run_sensitivity(setting: Setting) -> Tensor:
    """Return the largest of ten changes of a saliency map, which is made before."""
    attribution, context = explained(setting)
    found = SensitivityMax(samples=SENSITIVITY_SAMPLES).score(attribution, context)
    return torch.tensor(list(found.values()))


def run_explanation(setting: Setting) -> Tensor:
    """Return the map of the same target, not counting the map that is made before."""
    attribution, context = explained(setting)
    moved: Objective = context.objective(attribution).at(attribution.volume.data + 0.01)
    return Saliency().attribute(moved).data


def smallest_score(name: str) -> Score:
    """Return a score with its cheapest parameters."""
    score = SCORES[name]()
    own = {item.name for item in fields(score)}
    values = {key: value for key, value in SMALLEST.items() if key in own}
    if name == "road":
        values.pop("features")
    return replace(score, **values)


def run_score(setting: Setting) -> Tensor:
    """Return the values of the job's score of a saliency map."""
    attribution, context = explained(setting)
    found = smallest_score(setting.job.score).score(attribution, context)
    return torch.tensor(list(found.values()))
