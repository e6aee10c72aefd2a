"""Where competitors stand over all scores, and which of them a random map holds up with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from esegeta.compare.merge import Competitor, Kind
from esegeta.compare.study import ScoreResult, Study

FAITHFULNESS = "faithfulness"
RANDOM = "random_map"


@dataclass(frozen=True)
class Standing:
    """A competitor over all ranked scores.

    Args:
        competitor: which.
        by_family: mean of its mean ranks over the ranked scores of each family.
        num_scores: on which it is ranked.
        overall: mean over families, so that a family of many scores counts once; NaN if unranked.
    """

    competitor: Competitor
    by_family: dict[str, float]
    num_scores: int
    overall: float


def standings(study: Study) -> list[Standing]:
    """Return where each competitor stands, the best first; those without a rank come last."""
    found = [_standing(study, competitor) for competitor in study.merged.competitors]
    return sorted(found, key=lambda one: (math.isnan(one.overall), one.overall))


def num_ranked_scores(study: Study) -> int:
    """Return on how many scores competitors are ranked."""
    return sum(not score.ranking.refusal for score in study.scores)


def held_up_by_random(study: Study) -> set[tuple[Kind, Competitor]]:
    """Return who does not beat a random map of its model, and on which faithfulness score.

    To beat it is to be better in the median over cases of the paired differences; it says nothing
    of significance, which is in the tests.
    """
    return {
        (score.kind, competitor)
        for score in study.scores
        if score.kind.family == FAITHFULNESS
        for competitor in _not_better(score)
    }


def _standing(study: Study, competitor: Competitor) -> Standing:
    ranks: dict[str, list[float]] = {}
    for score in study.scores:
        mean_rank = score.mean_ranks.get(competitor)
        if mean_rank is not None:
            ranks.setdefault(score.kind.family, []).append(mean_rank)
    by_family = {family: float(np.mean(some)) for family, some in ranks.items()}
    overall = float(np.mean(list(by_family.values()))) if by_family else math.nan
    return Standing(competitor, by_family, sum(map(len, ranks.values())), overall)


def _not_better(score: ScoreResult) -> Iterator[Competitor]:
    for pair in score.pairs:
        ahead = (pair.first, pair.second, pair.median_gain)
        behind = (pair.second, pair.first, -pair.median_gain)
        for one, other, gain in (ahead, behind):
            rivals = one.model == other.model and other.null == RANDOM != one.null
            if rivals and gain <= 0:  # NaN without a common case, which is neither
                yield one
