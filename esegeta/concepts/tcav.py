"""TCAV for segmentation: what becomes of a target when a layer moves along a concept's vector.

    D_u = sum_i d . dR_u/da_i

R_u is the target of a case or a component, a_i the layer's activations at position i of any window,
d the step from other places to the concept: the change of R, to first order, when every position
moves by it. Sums over positions are all that is needed of a case, so that any number of concepts
costs one backward pass.

The classifier's normal v says whether a concept can be told, and the classical score is the share
of cases with `sum_i v . dR_u/da_i > 0`. It is no step: a normal leans against whatever noise helps
it, the more so the better the classes are told apart, so that one that marks a unit without any
effect has a small, but certain derivative. Sizes and tests are therefore along d, whose error is
the same for concepts and for random ones (Haufe et al., On the interpretation of weight vectors of
linear models, 2014; Pahde et al., Navigating neural space, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from esegeta.concepts.cav import Cav
from esegeta.concepts.examples import ByCase

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Slopes:
    """The slopes of a target by a layer, summed over positions.

    Args:
        values: of each of U cases or components, `U K`.
        cases: the number of its case.
    """

    values: Float[np.ndarray, "U K"]
    cases: Int[np.ndarray, " U"]

    @property
    def num_cases(self) -> int:
        """Number of cases."""
        return len(np.unique(self.cases))

    def along(self, directions: Sequence[Float[np.ndarray, " K"]]) -> Float[np.ndarray, "R U"]:
        """Return the derivative of each case or component along each of R directions."""
        derivatives: Float[np.ndarray, "R U"] = np.stack(directions) @ self.values.T
        return derivatives

    def steps(self, cavs: Sequence[Cav]) -> Float[np.ndarray, "R U"]:
        """Return D of each concept and each case or component, in the target's unit."""
        return self.along([cav.step for cav in cavs])

    @property
    def mean(self) -> Float[np.ndarray, " K"]:
        """The mean slope over cases, of each the mean over its components."""
        mean: Float[np.ndarray, " K"] = self.by_case(self.values.T).mean(axis=1)
        return mean

    def by_case(self, derivatives: Float[np.ndarray, "*any U"]) -> Float[np.ndarray, "*any C"]:
        """Return the mean over the components of each case."""
        names, places = np.unique(self.cases, return_inverse=True)
        table = np.eye(len(names))[places]
        means: Float[np.ndarray, "*any C"] = derivatives @ (table / table.sum(axis=0))
        return means


@dataclass(frozen=True)
class Tcav:
    """What a concept does to a target.

    Args:
        share: of cases or components whose derivative along the vector is positive, over draws.
        size: mean derivative D over cases, in the target's unit.
        low: of its interval over cases.
        high: of its interval over cases.
        alignment: cosine between the vector and the mean slope.
        null_mean: of the sizes of random concepts.
        null_spread: their standard deviation.
        p: two-sided, that the size is that of a random concept.
        p_rank: the same from ranks alone, never below 1 / (1 + randoms).
        p_cases: two-sided, that the size is zero on average over cases.
    """

    share: float
    size: float
    low: float
    high: float
    alignment: float
    null_mean: float
    null_spread: float
    p: float
    p_rank: float
    p_cases: float

    @property
    def p_larger(self) -> float:
        """The larger of `p` and `p_cases`: a finding is more than random, in cases in general."""
        return max(self.p, self.p_cases)


def score_concept(
    cavs: Sequence[Cav], randoms: Sequence[Cav], slopes: Slopes, *, steps: ByCase, seed: int
) -> Tcav:
    """Test what a concept does to a target against random concepts in the same places.

    p is that of one more random size: drawing the counter-pieces of the concept again and again
    makes nothing more significant. A concept is one region in each case, whose pieces are alike,
    and random pieces are not: the size must also stand out from its own differences between cases.

    Args:
        cavs: of the concept, one a draw of counter-pieces.
        randoms: of R random concepts.
        slopes: of two or more cases.
        steps: of the concept in each of two or more cases.
        seed: of the bootstrap.
    """
    by_case = slopes.by_case(slopes.steps(cavs)).mean(axis=0)
    size = float(by_case.mean())
    null = slopes.by_case(slopes.steps(randoms)).mean(axis=1)
    mean = float(null.mean())
    as_far = int((np.abs(null - mean) >= abs(size - mean) * (1 - 1e-12)).sum())
    low, high = interval_over_cases(by_case, seed=seed)
    return Tcav(
        share=float((slopes.along([cav.vector for cav in cavs]) > 0).mean()),
        size=size,
        low=low,
        high=high,
        alignment=_alignment(cavs, slopes),
        null_mean=mean,
        null_spread=float(null.std(ddof=1)),
        p=p_of_one_more(size, null),
        p_rank=(1 + as_far) / (1 + len(null)),
        p_cases=min(2 * steps.along(slopes.mean).p_above(abs(size)), 1.0),
    )


def p_of_one_more(value: float, null: Float[np.ndarray, " R"]) -> float:
    """Return the p, two-sided, that a value is one more of those of R random concepts.

    t = (value - mean) / (standard deviation * sqrt(1 + 1 / R)),   R - 1 degrees of freedom
    """
    from scipy import stats

    distance = abs(value - float(null.mean()))
    scale = float(null.std(ddof=1)) * math.sqrt(1 + 1 / len(null))
    # Zero over zero: nothing moves the target, and nothing is found.
    t = distance / scale if scale > 0 else (math.inf if distance > 0 else 0.0)
    return float(2 * stats.t.sf(t, len(null) - 1))


def interval_over_cases(values: Float[np.ndarray, " C"], *, seed: int) -> tuple[float, float]:
    """Return the bootstrap interval of a mean over cases, percentile, 95 %."""
    generator = np.random.default_rng([seed, 2])
    rows = generator.integers(len(values), size=(RESAMPLES, len(values)))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values[rows].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def _alignment(cavs: Sequence[Cav], slopes: Slopes) -> float:
    vector = np.mean([cav.vector for cav in cavs], axis=0)
    slope = slopes.mean
    lengths = float(np.linalg.norm(vector) * np.linalg.norm(slope))
    return float(vector @ slope / lengths) if lengths > 0 else 0.0
