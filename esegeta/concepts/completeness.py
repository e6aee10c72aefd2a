"""How complete a set of concepts is: what of a label a small head recovers from them alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from esegeta.concepts.cav import folds_of
from esegeta.concepts.shapley import shapley_values

VectorArray = Float[np.ndarray, "M K"]
THRESHOLDS = 64
STRENGTH = 1.0


@dataclass(frozen=True, eq=False)
class Positions:
    """Sampled positions of a layer, and what the network makes of them.

    Args:
        activations: of the layer at N voxels.
        is_label: whether the network predicts the label there.
        weights: voxels that each of them stands for.
        cases: the number of its case.
    """

    activations: Float[np.ndarray, "N K"]
    is_label: Bool[np.ndarray, " N"]
    weights: Float[np.ndarray, " N"]
    cases: Int[np.ndarray, " N"]

    @property
    def dice_of_everything(self) -> float:
        """The Dice of a head that sees nothing, and calls every position the label."""
        inside = float(self.weights[self.is_label].sum())
        return 2 * inside / (inside + float(self.weights.sum()))


@dataclass(frozen=True, eq=False)
class ConceptCompleteness:
    """What concepts recover of a label that a layer's activations recover.

    Args:
        dice: with all concepts, on cases that the head was not trained on.
        dice_of_layer: with all units of the layer.
        dice_of_nothing: with none.
        share: (dice - dice_of_nothing) / (dice_of_layer - dice_of_nothing).
        shapley: of each concept, in Dice; they add up to `dice - dice_of_nothing`.
        null: Dice of as many random directions, one a draw.
        p: that random directions do as well.
    """

    dice: float
    dice_of_layer: float
    dice_of_nothing: float
    share: float
    shapley: Float[np.ndarray, " M"]
    null: Float[np.ndarray, " R"]
    p: float


def held_out_dice(positions: Positions, vectors: VectorArray) -> float:
    """Return the Dice between a head on `activations . vectors` and the network's own label.

    The head is a logistic regression, fitted on some cases; the threshold is the one that is best
    there; the Dice is of the others, over all folds together. Without vectors everything is called
    the label.

    Args:
        positions: of two or more cases.
        vectors: directions in the layer; none for a head that sees nothing.
    """
    if not len(vectors):
        return positions.dice_of_everything
    features = positions.activations @ vectors.T
    called = np.zeros(len(features), dtype=bool)
    for test in folds_of(positions.cases):
        train = ~test
        centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
        scaled = (features - centre) / np.where(spread > 0, spread, 1.0)
        truth, weights = positions.is_label[train], positions.weights[train]
        if truth.all() or not truth.any():
            called[test] = bool(truth.all())
            continue
        values = _head(scaled[train], truth, weights, scaled)
        called[test] = values[test] > _best_threshold(values[train], truth, weights)
    return _dice(called, positions.is_label, positions.weights)


def completeness(
    positions: Positions, vectors: VectorArray, *, randoms: int, samples: int, seed: int
) -> ConceptCompleteness:
    """Return how much of a label's Dice is recovered from a set of concepts, and by which of them.

    Args:
        positions: of two or more cases.
        vectors: of the concepts, one each.
        randoms: random subspaces of the same size that the concepts are compared with.
        samples: see `shapley_values`.
        seed: of the random subspaces.

    Source: Yeh et al., On completeness-aware concept-based explanations (NeurIPS 2020), equations 1
    and 4, with Dice for accuracy, and a linear head.
    """

    def worth(chosen: Sequence[int]) -> float:
        return held_out_dice(positions, vectors[list(chosen)])

    values = shapley_values(worth, len(vectors), samples=samples, seed=seed)
    nothing = positions.dice_of_everything
    dice = held_out_dice(positions, vectors)
    whole = held_out_dice(positions, np.eye(vectors.shape[1]))
    generator = np.random.default_rng([seed, 4])
    spread = positions.activations.std(axis=0)
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
    null = np.array(
        [
            held_out_dice(positions, generator.standard_normal(vectors.shape) * scale)
            for _ in range(randoms)
        ]
    )
    room = whole - nothing
    return ConceptCompleteness(
        dice,
        whole,
        nothing,
        (dice - nothing) / room if room > 0 else float("nan"),
        values,
        null,
        (1 + int((null >= dice).sum())) / (1 + randoms),
    )


def _head(
    train: Float[np.ndarray, "T M"],
    truth: Bool[np.ndarray, " T"],
    weights: Float[np.ndarray, " T"],
    features: Float[np.ndarray, "N M"],
) -> Float[np.ndarray, " N"]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the threshold makes up for it
        head = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=50)
        head.fit(train, truth, sample_weight=weights / weights.mean())
    values: Float[np.ndarray, " N"] = features @ head.coef_[0]
    return values


def _best_threshold(
    values: Float[np.ndarray, " T"],
    truth: Bool[np.ndarray, " T"],
    weights: Float[np.ndarray, " T"],
) -> float:
    candidates = np.quantile(values, np.linspace(0, 1, THRESHOLDS, endpoint=False))
    candidates = np.append(candidates, values.min() - 1.0)
    scores = [_dice(values > one, truth, weights) for one in candidates]
    return float(candidates[int(np.argmax(scores))])


def _dice(
    called: Bool[np.ndarray, " N"], truth: Bool[np.ndarray, " N"], weights: Float[np.ndarray, " N"]
) -> float:
    both = float(weights[called & truth].sum())
    total = float(weights[called].sum() + weights[truth].sum())
    return 2 * both / total if total > 0 else 1.0
