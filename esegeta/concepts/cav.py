"""Concept activation vectors: the direction in a layer that tells a concept from other places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from esegeta.concepts.examples import Activations, ByCase, Examples

Classifier = Literal["logistic", "svm"]

MOST_FOLDS = 4
JUDGED_DRAWS = 8
"""Draws of counter-pieces whose accuracy is cross-validated."""

STRENGTH = 0.1
"""scikit-learn's C: the inverse of the penalty, on activations in units of their spread."""


@dataclass(frozen=True, eq=False)
class Cav:
    """A concept activation vector.

    Args:
        vector: unit normal of the boundary between the concept and other places, towards the
            concept, in the layer's activations.
        offset: `vector . a > offset` is the concept.
        step: from other places to the concept: the mean of the activations here less that there.
    """

    vector: Float[np.ndarray, " K"]
    offset: float
    step: Float[np.ndarray, " K"]

    @property
    def separation(self) -> float:
        """How far apart the two means lie along the vector."""
        return float(self.vector @ self.step)


def fit_cav(positives: Activations, others: Activations, classifier: Classifier) -> Cav:
    """Fit a linear classifier and return its normal as a vector of length one.

    Units are divided by their spread within the two sets first; one that never changes gets zero.

    Args:
        positives: activations of a concept, `N K`.
        others: of other places, `M K`.
        classifier: logistic regression, or a linear support vector machine.

    Source: Kim et al., Interpretability beyond feature attribution: TCAV (ICML 2018), section 3.2.
    """
    spread = _spread_within(positives, others)
    both = np.concatenate([positives, others])
    centre = both.mean(axis=0)
    is_concept = np.arange(len(both)) < len(positives)
    alive = spread > 0
    scaled = (both - centre)[:, alive] / spread[alive]
    normal = np.zeros(both.shape[1])
    weights, bias = _fit(scaled, is_concept, classifier)
    normal[alive] = weights / spread[alive]
    step = positives.mean(axis=0) - others.mean(axis=0)
    length = float(np.linalg.norm(normal))
    if length == 0:
        return Cav(normal, 0.0, step)
    vector = normal / length
    return Cav(vector, float(vector @ centre - bias / length), step)


def held_out_accuracy(
    positives: Activations,
    others: Activations,
    cases: Int[np.ndarray, " N"],
    classifier: Classifier,
) -> float:
    """Return the balanced accuracy of classifiers on cases that they were not fitted on.

    Args:
        positives: activations of a concept, `N K`.
        others: of other places, one for each of them, `N K`.
        cases: the case of each pair, of which there are two or more.
        classifier: which kind.
    """
    return float(_held_out_hits(positives, others, cases, classifier).mean())


def _held_out_hits(
    positives: Activations,
    others: Activations,
    cases: Int[np.ndarray, " N"],
    classifier: Classifier,
) -> Float[np.ndarray, " N"]:
    """Return how much of each pair is told rightly: 0, a half or 1."""
    hits = np.zeros((2, len(positives)))
    for test in folds_of(cases):
        cav = fit_cav(positives[~test], others[~test], classifier)
        hits[0, test] = positives[test] @ cav.vector > cav.offset
        hits[1, test] = others[test] @ cav.vector <= cav.offset
    told: Float[np.ndarray, " N"] = hits.mean(axis=0)
    return told


def folds_of(cases: Int[np.ndarray, " N"]) -> list[Bool[np.ndarray, " N"]]:
    """Return which examples are tested in each fold: those of some cases, all of them once."""
    names = np.unique(cases)
    groups = np.array_split(names, min(MOST_FOLDS, len(names)))
    return [np.isin(cases, group) for group in groups]


@dataclass(frozen=True, eq=False)
class Generalisation:
    """Whether a concept can be told from other places in cases that were not seen.

    Args:
        accuracy: balanced, on held-out cases, mean over draws of counter-pieces.
        p: that it is chance: by permutation of pairs or over cases, the larger.
        cosine: mean cosine between the vectors of two draws: 1 where all point the same way.
        cavs: one a draw.
        steps: from other places to the concept, case by case.
    """

    accuracy: float
    p: float
    cosine: float
    cavs: tuple[Cav, ...]
    steps: ByCase

    @property
    def mean(self) -> Cav:
        """The mean of the vectors, of length one, and the mean of the steps."""
        vectors = np.stack([cav.vector for cav in self.cavs])
        total = vectors.mean(axis=0)
        length = float(np.linalg.norm(total)) or 1.0
        offset = float(np.mean([cav.offset for cav in self.cavs]))
        return Cav(total / length, offset, np.mean([cav.step for cav in self.cavs], axis=0))


def generalise(
    examples: Examples, classifier: Classifier, *, draws: int, permutations: int, seed: int
) -> Generalisation:
    """Fit a vector for each draw of counter-pieces, and test that they hold in other cases.

    Under the null a piece and its counter-piece could be swapped: each permutation swaps every
    pair with probability 1/2 and is cross-validated alike, `p = (1 + #{as good}) / (1 + P)`.
    Swaps take pairs for independent. Pieces of one case are not, so that the accuracies of cases
    are held against 1/2 as well (`ByCase.p_above`), and the larger p counts.

    Args:
        examples: of two or more cases.
        classifier: which kind.
        draws: sets of counter-pieces.
        permutations: P.
        seed: of draws and permutations.
    """
    generator = np.random.default_rng(seed)
    sets = [examples.draw(generator) for _ in range(draws)]
    cavs = tuple(fit_cav(examples.positives, others, classifier) for others in sets)
    hits = np.mean(
        [
            _held_out_hits(examples.positives, others, examples.cases, classifier)
            for others in sets[:JUDGED_DRAWS]
        ],
        axis=0,
    )
    accuracy = float(hits.mean())
    of_cases = ByCase.of(hits, examples.cases).p_above(accuracy - 0.5)
    as_good = 0
    for turn in range(permutations):
        swap = generator.random(len(examples))[:, None] < 0.5
        others = sets[turn % len(sets)]
        one = np.where(swap, others, examples.positives)
        two = np.where(swap, examples.positives, others)
        as_good += held_out_accuracy(one, two, examples.cases, classifier) >= accuracy - 1e-12
    p = max((1 + as_good) / (1 + permutations), of_cases)
    return Generalisation(accuracy, p, mean_cosine([c.vector for c in cavs]), cavs, examples.steps)


def random_cavs(
    examples: Examples, classifier: Classifier, *, count: int, seed: int
) -> tuple[Cav, ...]:
    """Return vectors of random concepts: counter-pieces against other counter-pieces."""
    generator = np.random.default_rng([seed, 1])
    return tuple(
        fit_cav(*examples.draw_random_concept(generator), classifier) for _ in range(count)
    )


def mean_cosine(vectors: list[Float[np.ndarray, " K"]]) -> float:
    """Return the mean cosine between any two of some vectors of length one; NaN for fewer."""
    count = len(vectors)
    if count < 2:
        return float("nan")
    total = np.sum(vectors, axis=0)
    squares = float(np.sum([vector @ vector for vector in vectors]))
    return float((total @ total - squares) / (count * (count - 1)))


def _spread_within(positives: Activations, others: Activations) -> Float[np.ndarray, " K"]:
    variance = (positives.var(axis=0) + others.var(axis=0)) / 2
    spread: Float[np.ndarray, " K"] = np.sqrt(variance)
    # A unit that is constant within both sets may still tell them apart: then its own size counts.
    apart = np.abs(positives.mean(axis=0) - others.mean(axis=0))
    floor = 1e-6 * np.maximum(np.abs(positives).max(axis=0), np.abs(others).max(axis=0))
    return np.where(spread > floor, spread, np.where(apart > floor, apart, 0.0))


def _fit(
    scaled: Activations, is_concept: Bool[np.ndarray, " N"], classifier: Classifier
) -> tuple[Float[np.ndarray, " K"], float]:
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    if scaled.shape[1] == 0:
        return np.zeros(0), 0.0
    with config_context(assume_finite=True, skip_parameter_validation=True):
        model = (
            LogisticRegression(C=STRENGTH, solver="liblinear", max_iter=1000)
            if classifier == "logistic"
            else LinearSVC(C=STRENGTH, max_iter=20000, dual=False)
        )
        model.fit(scaled, is_concept)
    return model.coef_[0], float(model.intercept_[0])
