"""Both sides of the rows about scores: curves against the plain predictor, costs and memory."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.setting import Setting, supervoxels
from benchmarks.smallest import smallest_score
from esegeta.explain import Attribution, Features, Objective, RandomMap, Saliency
from esegeta.predict import Predictor
from esegeta.score import ScoreContext, SensitivityMax
from esegeta.score.removal import parse_replacement, removal_order
from esegeta.score.removal.removal_order import RemovalOrder
from esegeta.targets import FrozenTarget, Scene
from esegeta.volume import Volume

STEPS = 50
SENSITIVITY_SAMPLES = 10


def random_removal_order(
    predictor: Predictor, volume: Volume, target: FrozenTarget, features: Features
) -> RemovalOrder:
    """Return a random removal order over supervoxels, which both sides make in their time."""
    order = RandomMap().explain(predictor, volume, target)
    context = ScoreContext(predictor, RandomMap())
    zero = parse_replacement("zero")
    return removal_order(order, context, features=features, replacement=zero, steps=STEPS)


def curve(setting: Setting) -> Tensor:
    """Return the target along the curve, of the windows that it touches."""
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    ordered = random_removal_order(setting.predictor, setting.volume, frozen, supervoxels(setting))
    return ordered.removals.values(ordered.without_first())


def plain_curve(setting: Setting) -> Tensor:
    """Return the same curve, each image predicted whole."""
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    ordered = random_removal_order(setting.predictor, setting.volume, frozen, supervoxels(setting))
    with torch.no_grad():
        values = [
            setting.predictor_function(ordered.removals.image(row)[None]).double().cpu()
            for row in ordered.without_first()
        ]
    return torch.cat(values)


def explained(setting: Setting) -> tuple[Attribution, ScoreContext]:
    frozen = setting.target.freeze(Scene(setting.predictor, setting.volume))
    attribution = Saliency().explain(setting.predictor, setting.volume, frozen)
    return attribution, ScoreContext(setting.predictor, Saliency())


def sensitivity(setting: Setting) -> Tensor:
    """Return the largest of ten changes of a saliency map, which is made before."""
    attribution, context = explained(setting)
    found = SensitivityMax(samples=SENSITIVITY_SAMPLES).score(attribution, context)
    return torch.tensor(list(found.values()))


def explanation(setting: Setting) -> Tensor:
    """Return the map of the same target, not counting the map that is made before."""
    attribution, context = explained(setting)
    moved: Objective = context.objective(attribution).at(attribution.volume.data + 0.01)
    return Saliency().attribute(moved).data


def score(setting: Setting) -> Tensor:
    """Return the values of the job's score of a saliency map."""
    attribution, context = explained(setting)
    found = smallest_score(setting.job.score).score(attribution, context)
    return torch.tensor(list(found.values()))
