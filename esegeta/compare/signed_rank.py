"""Wilcoxon's signed-rank test with ties and zeros, its effect size, and Holm's correction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr
from scipy.stats import rankdata

EXACT_UP_TO = 50
"""Pairs up to which the p-value is exact."""


@dataclass(frozen=True)
class SignedRank:
    """Outcome of the test.

    Args:
        num_zero: pairs without a difference.
        positive: sum of the ranks of differences above zero.
        negative: of those below.
        p: two-sided; 1 where all pairs are equal.
    """

    num_zero: int
    positive: float
    negative: float
    p: float

    @property
    def effect(self) -> float:
        """Matched-pairs rank-biserial correlation: 1 if all differences are above zero.

        The ranks of zeros are in neither sum (Kerby 2014, with zeros as Pratt has them).
        """
        total = self.positive + self.negative
        return (self.positive - self.negative) / total if total else 0.0


def signed_rank(differences: Float[np.ndarray, " pairs"]) -> SignedRank:
    """Test whether paired differences lie evenly around zero.

        W = sum of rank(|d_i|) over d_i > 0,    ranks among all |d_i|, zeros included

    Zeros are ranked and then dropped; ties have the mean of their ranks. Under the null each
    difference that is not zero has either sign with probability 1/2: up to 50 pairs the p-value
    is exact for these very ranks, beyond it is that of a normal of the same variance.

    Source: Wilcoxon 1945; Pratt, Remarks on Zeros and Ties in the Wilcoxon Signed Rank
    Procedures, 1959. Where there are neither ties nor zeros, as scipy's `wilcoxon`.
    """
    # Ties have half ranks: doubled they are integers, and sums of them exact.
    doubled = np.rint(2 * rankdata(np.abs(differences))).astype(int)
    above, below = differences > 0, differences < 0
    positive, negative = int(doubled[above].sum()), int(doubled[below].sum())
    ranks = tuple(sorted(doubled[above | below].tolist()))
    if len(differences) <= EXACT_UP_TO:
        p = _exact_p(ranks, abs(positive - negative))
    else:
        p = _normal_p(np.array(ranks, dtype=float), positive - negative)
    num_zero = len(differences) - len(ranks)
    return SignedRank(num_zero, positive / 2, negative / 2, p)


def least_corrected_p(num_pairs: int, num_tests: int) -> float:
    """Return the smallest p-value that a test can have after Holm's correction.

    It is that of pairs whose differences all have one sign, the first among so many tests.
    """
    return min(1.0, num_tests * 2.0 ** (1 - num_pairs))


def fewest_pairs(num_tests: int, alpha: float) -> int:
    """Return how many pairs it takes for the smallest corrected p-value to lie below alpha."""
    return math.floor(1 + math.log2(num_tests / alpha)) + 1


def holm(p_values: Float[np.ndarray, " tests"]) -> Float[np.ndarray, " tests"]:
    """Return p-values that hold for a whole family of tests.

        p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m)

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _exact_p(doubled: tuple[int, ...], difference: int) -> float:
    """Return the probability that signed doubled ranks sum up to this or more, either way."""
    weights = _null_distribution(doubled)
    sums = np.abs(2 * np.arange(len(weights)) - (len(weights) - 1))
    return min(1.0, float(weights[sums >= difference].sum()))


@lru_cache(maxsize=256)
def _null_distribution(doubled: tuple[int, ...]) -> Float[np.ndarray, " sums"]:
    """Return the probability of each sum of the doubled ranks with a positive sign."""
    weights = np.zeros(sum(doubled) + 1)
    weights[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(weights)
        moved[rank:] = weights[: len(weights) - rank]
        weights = 0.5 * (weights + moved)
    return weights


def _normal_p(doubled: Float[np.ndarray, " pairs"], difference: float) -> float:
    deviation = math.sqrt(float(np.square(doubled).sum()))
    return float(2 * ndtr(-abs(difference) / deviation)) if deviation else 1.0
