"""Tests between competitors: exact signed ranks, all pairs, Friedman and Nemenyi."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr
from scipy.stats import chi2, f, rankdata, studentized_range

from esegeta.compare.merge import Competitor
from esegeta.compare.score_table import Ranking, ScoreTable, mean_by_case
from esegeta.multiple_tests import holm

EXACT_UP_TO = 50
"""Pairs up to which the p-value is exact."""


@dataclass(frozen=True)
class SignedRank:
    """Outcome of the test.

    Args:
        num_zero: number of pairs without a difference.
        positive: sum of the ranks of differences above zero.
        negative: sum of the ranks of differences below zero.
        p: two-sided p-value; 1 where all pairs are equal.
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


FEWEST_CASES = 6
"""With fewer pairs a two-sided signed-rank test cannot reach 0.05: its least p is 2^(1 - n)."""

ALPHA = 0.05


@dataclass(frozen=True)
class PairedScores:
    """Two competitors on one score.

    Args:
        first: one of them.
        second: the other.
        num_cases: number of cases that both have a value for, averaged over their targets.
        num_left_out: number of tasks that only one has, or that are undefined for one.
        median_difference: median of first minus second over cases, in the score's unit, or NaN.
        median_gain: the same, turned so that above zero the first is better.
        outcome: outcome of the test on the gains; None where there are too few cases.
        p_holm: p corrected over all tests of the score, or None.
    """

    first: Competitor
    second: Competitor
    num_cases: int
    num_left_out: int
    median_difference: float
    median_gain: float
    outcome: SignedRank | None = None
    p_holm: float | None = None

    @property
    def refusal(self) -> str:
        """Why there was no test, or empty."""
        if self.outcome is not None:
            return ""
        return f"{self.num_cases} paired cases, but {FEWEST_CASES} are needed"


def competitor_pairs(competitors: Sequence[Competitor]) -> Iterator[tuple[Competitor, Competitor]]:
    """Yield every two methods of one model, then the same method on every two models."""
    within = (pair for pair in combinations(competitors, 2) if pair[0].model == pair[1].model)
    between = (pair for pair in combinations(competitors, 2) if pair[0].method == pair[1].method)
    yield from within
    yield from between


def compare_pair(table: ScoreTable, first: Competitor, second: Competitor) -> PairedScores:
    """Test two competitors on the cases that both have a value for.

    Differences are averaged over the targets of a case, since targets of one case are not
    independent; the test is over cases.
    """
    columns = [table.column(first), table.column(second)]
    both = table.shared_by(columns)
    num_left_out = int((table.present[:, columns].any(axis=1) & ~both).sum())
    _, differences = mean_by_case(table.differences(both, *columns), table.cases_of(both))
    gains = differences if table.kind.better == "higher" else -differences
    middle = float(np.median(differences)) if len(differences) else float("nan")
    gain = float(np.median(gains)) if len(gains) else float("nan")
    outcome = signed_rank(gains) if len(gains) >= FEWEST_CASES else None
    return PairedScores(first, second, len(gains), num_left_out, middle, gain, outcome)


def compare_pairs(table: ScoreTable) -> tuple[PairedScores, ...]:
    """Test all pairs of a score; its tests are one family of Holm's.

    Scores where neither high nor low is better, or that follow the map's scale, are not tested.
    """
    if table.kind.refusal:
        return ()
    pairs = [compare_pair(table, *pair) for pair in competitor_pairs(table.competitors)]
    tested = [pair.outcome.p for pair in pairs if pair.outcome is not None]
    corrected = iter(holm(tested))
    return tuple(
        pair if pair.outcome is None else replace(pair, p_holm=next(corrected)) for pair in pairs
    )


FEWEST_COMPETITORS = 3


@dataclass(frozen=True)
class Difference:
    """All competitors of a score together.

    Args:
        chi2: Friedman's statistic, corrected for ties; NaN where all ranks are tied.
        p: p-value of Iman and Davenport's F, which is less conservative than chi2.
        critical: distance from which on two mean ranks differ at 0.05.
        order: places of the competitors in the ranking, the best first.
        mean_ranks: mean ranks, ascending.
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
        return f"{num_competitors} ranked competitors, but {FEWEST_COMPETITORS} are needed"
    if num_cases < FEWEST_CASES:
        return f"{num_cases} cases with a value of all competitors, but {FEWEST_CASES} are needed"
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
        mean_ranks: mean ranks, ascending.
        difference: distance from which on two ranks differ.
    """
    ranks = np.asarray(mean_ranks, dtype=float)
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="left")) - 1
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return tuple(found)
