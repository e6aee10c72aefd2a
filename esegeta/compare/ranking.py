"""Ranks of competitors on a score, case by case, on the ground that all of them share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from esegeta.compare.merge import Competitor
from esegeta.compare.score_table import ScoreTable, mean_by_case

COMMON_SHARE = 0.5
"""The share of a score's cases on which all ranked competitors must have a value."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Who comes first on a score, in each case.

    Args:
        competitors: that are ranked; none where the score is not ranked.
        left_out: those with too many gaps to be ranked with the others.
        cases: in which all that are ranked have a value for the same targets.
        values: averaged over those targets.
        ranks: 1 is best; ties have the mean of their ranks.
        refusal: why nothing is ranked, or empty.
    """

    competitors: tuple[Competitor, ...]
    left_out: tuple[Competitor, ...]
    cases: tuple[str, ...]
    values: Float[np.ndarray, "cases competitors"]
    ranks: Float[np.ndarray, "cases competitors"]
    refusal: str = ""

    def mean_ranks(self) -> dict[Competitor, float]:
        """Return the mean rank of each that is ranked."""
        if self.refusal:
            return {}
        return dict(zip(self.competitors, map(float, self.ranks.mean(axis=0)), strict=True))


def rank_competitors(table: ScoreTable) -> Ranking:
    """Rank the competitors of a score in each case.

    Mean ranks can be compared only over the same cases: a unit counts where every ranked
    competitor has a value. While that leaves less than half of the cases, the competitor with the
    most gaps is left out. Values are averaged over the targets of a case before they are ranked.
    """
    if table.kind.better == "none":
        return _refused("neither high nor low is better")
    if len(table.competitors) < 2:
        return _refused("there is one competitor only")
    kept = _kept(table)
    rows = table.shared_by(kept)
    if kept.sum() < 2 or not rows.any():
        return _refused("no case has a value of two competitors")
    cases, losses = mean_by_case(table.losses[rows][:, kept], table.cases_of(rows))
    ranks = np.asarray(rankdata(losses, axis=1), dtype=float)
    values = -losses if table.kind.better == "higher" else losses
    chosen = tuple(one for one, keep in zip(table.competitors, kept, strict=True) if keep)
    others = tuple(one for one, keep in zip(table.competitors, kept, strict=True) if not keep)
    return Ranking(chosen, others, cases, values, ranks)


def _kept(table: ScoreTable) -> Bool[np.ndarray, " competitors"]:
    kept = np.ones(len(table.competitors), dtype=bool)
    needed = COMMON_SHARE * len(set(table.cases_of(np.logical_or.reduce(table.defined, axis=1))))
    while kept.sum() > 1:
        common = table.cases_of(table.shared_by(kept))
        if common and len(set(common)) >= needed:
            break
        gaps = np.where(kept, (~table.defined).sum(axis=0), -1)
        # Of several with as many gaps the last goes: the order is the user's.
        kept[len(gaps) - 1 - int(np.argmax(gaps[::-1]))] = False
    return kept


def _refused(why: str) -> Ranking:
    empty = np.zeros((0, 0))
    return Ranking((), (), (), empty, empty, why)
