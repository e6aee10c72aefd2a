"""What a training image did to a target: the product of two gradients, over checkpoints.

A step of gradient descent on the loss of example z changes a target R by about

    - eta * grad R . grad loss(z)

which is summed over the checkpoints of a training. All numbers here have the sign of that change:
above zero, training on the example raises the target.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from esegeta.axes import Batch
from esegeta.examples.gradients import (
    Example,
    Loss,
    ParameterSlopes,
    dots,
    learning,
    loss_slopes,
    target_slopes,
)
from esegeta.predict import Predictor
from esegeta.targets import FrozenTarget


@dataclass(frozen=True, eq=False)
class InfluenceQuery:
    """A target of a test image.

    Args:
        name: of both.
        x: the image, `1 C *S`.
        target: frozen on it.
    """

    name: str
    x: Batch
    target: FrozenTarget


@dataclass(frozen=True)
class Pull:
    """What one example did to one target at one checkpoint.

    Args:
        by_module: `- grad R . grad loss`, by the module that holds the parameters; a step of the
            learning rate 1 changes the target by their sum.
        cosine: `- cos(grad R, grad loss)`; 0 where one of them is zero.
    """

    by_module: Mapping[str, float]
    cosine: float

    @property
    def total(self) -> float:
        """Over all modules."""
        return math.fsum(self.by_module.values())


@dataclass(frozen=True)
class CheckpointInfluence:
    """All that is asked of one checkpoint.

    Args:
        values: of each target.
        losses: of each example.
        self_influence: `|grad loss(z)|^2` of each example.
        pulls: by target and example.
    """

    values: dict[str, float] = field(default_factory=dict)
    losses: dict[str, float] = field(default_factory=dict)
    self_influence: dict[str, float] = field(default_factory=dict)
    pulls: dict[str, dict[str, Pull]] = field(default_factory=dict)


def influence_at(
    predictor: Predictor,
    questions: Sequence[InfluenceQuery],
    examples: Sequence[Example],
    loss: Loss,
) -> CheckpointInfluence:
    """Return what each example does to each target at the weights that the network holds.

    Gradients of the targets are held, those of the examples one at a time.

    Args:
        predictor: one network over windows, with the weights of the checkpoint.
        questions: targets of test images.
        examples: training images.
        loss: that the network was trained with, of one window.

    Source: Pruthi et al., Estimating Training Data Influence by Tracing Gradient Descent, 2020,
    eq. 1; theirs asks for the loss of a test image, ours for any target of the whole prediction.
    """
    found = CheckpointInfluence()
    with learning(predictor.network) as parameters:
        asked: list[ParameterSlopes] = []
        for question in questions:
            value, slopes = target_slopes(predictor, parameters, question.x, question.target)
            found.values[question.name] = value
            found.pulls[question.name] = {}
            asked.append(slopes)
        lengths = [norm(slopes) for slopes in asked]
        for example in examples:
            found.losses[example.name], slopes = loss_slopes(predictor, parameters, example, loss)
            squared = norm(slopes) ** 2
            found.self_influence[example.name] = squared
            products = dots(slopes, asked)
            for question, length, by_module in zip(questions, lengths, products, strict=True):
                found.pulls[question.name][example.name] = _pull(
                    by_module, length * math.sqrt(squared)
                )
    return found


def _pull(by_module: Mapping[str, float], lengths: float) -> Pull:
    negated = {name: -value for name, value in by_module.items()}
    total = math.fsum(negated.values())
    return Pull(negated, total / lengths if lengths > 0 else 0.0)


def norm(slopes: ParameterSlopes) -> float:
    """Return the length of a gradient over all parameters."""
    return math.sqrt(math.fsum(float((one.double() ** 2).sum()) for one in slopes.values()))


def trace(checkpoints: Sequence[Mapping[str, float]], rates: Sequence[float]) -> dict[str, float]:
    """Return `sum_k eta_k v_k` of values by name at each checkpoint."""
    names = list(checkpoints[0])
    return {
        name: math.fsum(rate * one[name] for rate, one in zip(rates, checkpoints, strict=True))
        for name in names
    }
