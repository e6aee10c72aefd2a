"""Whether estimates of influence rank examples as leaving them out does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankAgreement:
    """Spearman's rank correlation between an estimate and what was measured.

    Args:
        n: number of examples.
        correlation: from -1 to 1; NaN where all of either are equal.
        p: two-sided, over all orders of the examples or 100 000 of them.
    """

    n: int
    correlation: float
    p: float


EXACT_UP_TO = 8
DRAWS = 100_000


def rank_agreement(estimated: Sequence[float], measured: Sequence[float]) -> RankAgreement:
    """Return the rank correlation of two lists, ties ranked by their mean."""
    from scipy import stats

    one, other = stats.rankdata(estimated), stats.rankdata(measured)
    one, other = one - one.mean(), other - other.mean()
    lengths = math.sqrt(float((one**2).sum() * (other**2).sum()))
    if not lengths > 0:
        return RankAgreement(len(one), math.nan, math.nan)
    found = float(one @ other) / lengths
    draws = _orders(len(one))
    others = other[draws] @ one / lengths
    at_least = int((np.abs(others) >= abs(found) - 1e-12).sum())
    is_exact = len(one) <= EXACT_UP_TO
    p = at_least / len(draws) if is_exact else (at_least + 1) / (len(draws) + 1)
    return RankAgreement(len(one), found, p)


def _orders(count: int) -> np.ndarray:
    if count <= EXACT_UP_TO:
        from itertools import permutations

        return np.array(list(permutations(range(count))))
    random = np.random.default_rng(0)
    return random.permuted(np.tile(np.arange(count), (DRAWS, 1)), axis=1)
