"""The study: many runs in one table, with statistics that can be trusted."""

from esegeta.compare.findings import testing_sentence
from esegeta.compare.leaderboard import (
    CompetitorRank,
    held_up_by_random,
    nulls_sentence,
    num_ranked_scores,
    standings,
)
from esegeta.compare.save import save_study
from esegeta.compare.study import ScoreResult, Study, compare_runs

__all__ = [
    "CompetitorRank",
    "ScoreResult",
    "Study",
    "compare_runs",
    "held_up_by_random",
    "nulls_sentence",
    "num_ranked_scores",
    "save_study",
    "standings",
    "testing_sentence",
]
