"""Which competitors are tested against which, and how the tests come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from esegeta.compare.merge import Competitor
from esegeta.compare.score_table import ScoreTable, mean_by_case
from esegeta.compare.signed_rank import SignedRank, holm, signed_rank

FEWEST_CASES = 6
"""With fewer pairs a two-sided signed-rank test cannot reach 0.05: its least p is 2^(1 - n)."""

ALPHA = 0.05


@dataclass(frozen=True)
class Paired:
    """Two competitors on one score.

    Args:
        first: one of them.
        second: the other.
        num_cases: that both have a value for; differences are averaged over a case's targets.
        num_left_out: units that only one has, or that are undefined for one.
        median_difference: of first minus second over cases, in the score's unit; NaN without any.
        median_gain: the same, turned so that above zero the first is better.
        outcome: of the test on the gains, or None where there are too few cases.
        p_holm: corrected over all tests of the score, or None.
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
        return f"{self.num_cases} paired cases, {FEWEST_CASES} are needed"


def pairs_of(competitors: Sequence[Competitor]) -> Iterator[tuple[Competitor, Competitor]]:
    """Yield every two methods of one model, then the same method on every two models."""
    within = (pair for pair in combinations(competitors, 2) if pair[0].model == pair[1].model)
    between = (pair for pair in combinations(competitors, 2) if pair[0].method == pair[1].method)
    yield from within
    yield from between


def compare_pair(table: ScoreTable, first: Competitor, second: Competitor) -> Paired:
    """Test two competitors on the cases that both have a value for.

    Differences are averaged over the targets of a case, for targets of one case are not
    independent; the cases are what is tested over.
    """
    columns = [table.column(first), table.column(second)]
    both = table.shared_by(columns)
    num_left_out = int((table.present[:, columns].any(axis=1) & ~both).sum())
    values = table.values[both][:, columns]
    _, differences = mean_by_case(values[:, 0] - values[:, 1], table.cases_of(both))
    gains = differences if table.kind.better == "higher" else -differences
    middle = float(np.median(differences)) if len(differences) else float("nan")
    gain = float(np.median(gains)) if len(gains) else float("nan")
    outcome = signed_rank(gains) if len(gains) >= FEWEST_CASES else None
    return Paired(first, second, len(gains), num_left_out, middle, gain, outcome)


def compare_pairs(table: ScoreTable) -> tuple[Paired, ...]:
    """Test all pairs of a score; its tests are one family of Holm's.

    A score of which neither high nor low is better is not tested.
    """
    if table.kind.better == "none":
        return ()
    pairs = [compare_pair(table, *pair) for pair in pairs_of(table.competitors)]
    tested = [pair.outcome.p for pair in pairs if pair.outcome is not None]
    corrected = iter(holm(np.array(tested, dtype=float)).tolist())
    return tuple(
        pair if pair.outcome is None else replace(pair, p_holm=next(corrected)) for pair in pairs
    )
