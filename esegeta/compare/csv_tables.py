"""The study's numbers as records: what the CSV files hold."""

from __future__ import annotations

from collections.abc import Iterator

from esegeta.compare.significance import PairedScores
from esegeta.compare.study import ScoreResult, Study

Record = tuple[str | int | float | None, ...]

SCORES = ("model", "case", "target", "method", "score", "value", "better")
SUMMARY = (
    "model",
    "method",
    "score",
    "n",
    "n_nan",
    "median",
    "q1",
    "q3",
    "mean_rank",
    "better",
    "n_cases",
)
RANKS = ("model", "method", "score", "case", "value", "rank", "n_cases")
TESTS = (
    "score",
    "better",
    "model_a",
    "method_a",
    "model_b",
    "method_b",
    "num_cases",
    "num_left_out",
    "num_zero",
    "median_difference",
    "effect",
    "p",
    "p_holm",
    "refusal",
)
CORRELATIONS = (
    "score_a",
    "score_b",
    "num_units",
    "spearman",
    "num_groups",
    "spearman_within",
    "same_direction",
)


def scores(study: Study) -> Iterator[Record]:
    """Yield every value."""
    for kind, entries in study.merged.entries.items():
        for one in entries:
            names = (one.competitor.model, one.case, one.target, one.competitor.method)
            yield (*names, kind.name, one.value, kind.better)


def summary(study: Study) -> Iterator[Record]:
    """Yield median and quartiles of each competitor on each score, and its mean rank."""
    for score in study.scores:
        for competitor, one in score.summaries.items():
            yield (
                competitor.model,
                competitor.method,
                score.kind.name,
                one.num_defined,
                one.num_undefined,
                one.median,
                one.q1,
                one.q3,
                score.mean_ranks.get(competitor),
                score.kind.better,
                score.table.num_cases,
            )


def ranks(study: Study) -> Iterator[Record]:
    """Yield the rank of each competitor on each score in each case, and the value ranked."""
    for score in study.scores:
        ranking = score.ranking
        for column, competitor in enumerate(ranking.competitors):
            for row, case in enumerate(ranking.cases):
                value, rank = ranking.values[row, column], ranking.ranks[row, column]
                names = (competitor.model, competitor.method, score.kind.name, case)
                yield (*names, float(value), float(rank), len(ranking.cases))


def tests(study: Study) -> Iterator[Record]:
    """Yield every pair of competitors on each score, with a reason where there was no test."""
    for score in study.scores:
        for pair in score.pairs:
            yield _test(score, pair)


def correlations(study: Study) -> Iterator[Record]:
    """Yield the correlation of every two scores, as their values are."""
    for one in study.correlations:
        names = (one.first.name, one.second.name)
        same = "none" if "none" in (one.first.better, one.second.better) else ""
        same = same or ("yes" if one.turn > 0 else "no")
        yield (*names, one.num_tasks, one.rho, one.num_groups, one.rho_within, same)


def _test(score: ScoreResult, pair: PairedScores) -> Record:
    outcome = pair.outcome
    return (
        score.kind.name,
        score.kind.better,
        pair.first.model,
        pair.first.method,
        pair.second.model,
        pair.second.method,
        pair.num_cases,
        pair.num_left_out,
        None if outcome is None else outcome.num_zero,
        pair.median_difference,
        None if outcome is None else outcome.effect,
        None if outcome is None else outcome.p,
        pair.p_holm,
        pair.refusal,
    )
