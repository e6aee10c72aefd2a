"""Do competitors differ at all (Friedman), and by how much must their mean ranks (Nemenyi)?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2, f, studentized_range

from esegeta.compare.paired import ALPHA, FEWEST_CASES
from esegeta.compare.ranking import Ranking

FEWEST_COMPETITORS = 3


@dataclass(frozen=True)
class Difference:
    """All competitors of a score together.

    Args:
        chi2: Friedman's statistic, corrected for ties; NaN where all ranks are tied.
        p: of Iman and Davenport's F, which is less conservative than chi2.
        critical: mean ranks that lie this far apart differ at 0.05.
        order: places of the competitors in the ranking, the best first.
        mean_ranks: ascending.
        cliques: first and last place in `order` of each longest run that does not differ.
    """

    chi2: float
    p: float
    critical: float
    order: tuple[int, ...]
    mean_ranks: tuple[float, ...]
    cliques: tuple[tuple[int, int], ...]


def find_difference(ranking: Ranking) -> Difference | str:
    """Compare all ranked competitors at once, or say why that cannot be done.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006, sections
    3.2.2 and 3.2.4. Where Friedman's test finds no difference, none is looked for between pairs:
    one clique holds all.
    """
    num_cases, num_competitors = ranking.ranks.shape
    if ranking.refusal:
        return ranking.refusal
    if num_competitors < FEWEST_COMPETITORS:
        return f"{num_competitors} ranked competitors, {FEWEST_COMPETITORS} are needed"
    if num_cases < FEWEST_CASES:
        return f"{num_cases} cases with a value of all competitors, {FEWEST_CASES} are needed"
    statistic, p = friedman(ranking.ranks)
    means = ranking.ranks.mean(axis=0)
    order = np.argsort(means, kind="stable")
    critical = critical_difference(num_competitors, num_cases)
    ranks = tuple(means[order].tolist())
    cliques = longest_cliques(ranks, critical) if p < ALPHA else ((0, num_competitors - 1),)
    return Difference(statistic, p, critical, tuple(order.tolist()), ranks, cliques)


def friedman(ranks: Float[np.ndarray, "cases competitors"]) -> tuple[float, float]:
    """Return Friedman's chi-square and the p-value of Iman and Davenport's F.

        chi2 = (k - 1) sum_j (R_j - n (k + 1) / 2)^2 / sum_ij (r_ij - (k + 1) / 2)^2
        F = (n - 1) chi2 / (n (k - 1) - chi2),   k - 1 and (k - 1)(n - 1) degrees of freedom

    R_j are the sums of a competitor's ranks r_ij over n cases; ties are allowed for. Where all
    cases agree F is infinite, and p is that of chi2; where all ranks are tied, chi2 is NaN and p
    is 1.
    """
    num_cases, num = ranks.shape
    spread = np.square(ranks - (num + 1) / 2).sum()
    if spread == 0:
        return math.nan, 1.0
    sums = ranks.sum(axis=0) - num_cases * (num + 1) / 2
    statistic = float((num - 1) * np.square(sums).sum() / spread)
    rest = num_cases * (num - 1) - statistic
    if rest <= 1e-9 * statistic:
        return statistic, float(chi2.sf(statistic, num - 1))
    ratio = (num_cases - 1) * statistic / rest
    return statistic, float(f.sf(ratio, num - 1, (num - 1) * (num_cases - 1)))


def critical_difference(num_competitors: int, num_cases: int) -> float:
    """Return Nemenyi's critical difference of mean ranks at 0.05.

    q sqrt(k (k + 1) / (6 n)),   q: studentized range of k, infinite degrees, over sqrt(2)
    """
    q = studentized_range.isf(ALPHA, num_competitors, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(num_competitors * (num_competitors + 1) / (6 * num_cases)))


def longest_cliques(mean_ranks: Sequence[float], difference: float) -> tuple[tuple[int, int], ...]:
    """Return first and last place of each longest run of ranks closer than a difference.

    Args:
        mean_ranks: ascending.
        difference: ranks that lie this far apart, or farther, differ.
    """
    ranks = np.asarray(mean_ranks, dtype=float)
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="left")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
