"""How competitors stand over all scores, and the tables that say so."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from esegeta.compare.merge import Competitor, ScoreColumn
from esegeta.compare.score_table import are_tied
from esegeta.compare.study import ScoreResult, Study
from esegeta.report import Cell, Table, number_text

FAITHFULNESS = "faithfulness"
RANDOM = "random_map"


@dataclass(frozen=True)
class CompetitorRank:
    """A competitor over all ranked scores.

    Args:
        competitor: the competitor.
        by_family: mean of its mean ranks over the ranked scores of each aspect, and of these over
            the aspects of each family.
        num_scores: number of scores on which it is ranked.
        overall: mean over families, so that large families count once; NaN if unranked.
    """

    competitor: Competitor
    by_family: dict[str, float]
    num_scores: int
    overall: float


def standings(study: Study) -> list[CompetitorRank]:
    """Return where each competitor stands, the best first; those without a rank come last."""
    found = [_standing(study, competitor) for competitor in study.merged.competitors]
    return sorted(found, key=lambda one: (math.isnan(one.overall), one.overall))


def num_ranked_scores(study: Study) -> int:
    """Return on how many scores competitors are ranked."""
    return len(ranked_scores(study))


def ranked_scores(study: Study) -> list[ScoreResult]:
    """Return the scores on which competitors are ranked."""
    return [score for score in study.scores if not score.ranking.refusal]


def held_up_by_random(study: Study) -> set[tuple[ScoreColumn, Competitor]]:
    """Return who does not beat a random map of its model, and on which faithfulness score.

    To beat it is to be better in the median over cases of the paired differences; it says nothing
    about significance, which the tests cover.
    """
    return {
        (score.kind, competitor)
        for score in study.scores
        if score.kind.family == FAITHFULNESS
        for competitor in _not_better(score)
    }


def _standing(study: Study, competitor: Competitor) -> CompetitorRank:
    ranks: dict[str, dict[str, list[float]]] = {}
    for score in study.scores:
        mean_rank = score.mean_ranks.get(competitor)
        if mean_rank is not None:
            of_family = ranks.setdefault(score.kind.family, {})
            of_family.setdefault(score.kind.aspect or score.kind.name, []).append(mean_rank)
    by_family = {
        family: float(np.mean([np.mean(some) for some in aspects.values()]))
        for family, aspects in ranks.items()
    }
    overall = float(np.mean(list(by_family.values()))) if by_family else math.nan
    num_scores = sum(len(some) for aspects in ranks.values() for some in aspects.values())
    return CompetitorRank(competitor, by_family, num_scores, overall)


def _not_better(score: ScoreResult) -> Iterator[Competitor]:
    for pair in score.pairs:
        ahead = (pair.first, pair.second, pair.median_gain)
        behind = (pair.second, pair.first, -pair.median_gain)
        for one, other, gain in (ahead, behind):
            rivals = one.model == other.model and other.null == RANDOM != one.null
            if rivals and gain <= 0:  # NaN without a common case, which is neither
                yield one


SCORES_A_TABLE = 4
ONE_CASE = "n = 1: one case, which says nothing about others. "
ARROWS = {"lower": "↓", "higher": "↑", "none": "–"}


def leaderboard(study: Study) -> tuple[Table, ...]:
    """Return the table of mean ranks, if there are any, and those of each family's scores."""
    order = standings(study)
    held_up = held_up_by_random(study)
    tables = [ranks_table(study, order)] if num_ranked_scores(study) else []
    competitors = [standing.competitor for standing in order]
    for family in study.families:
        scores = [score for score in study.scores if score.kind.family == family]
        parts = [
            scores[start : start + SCORES_A_TABLE]
            for start in range(0, len(scores), SCORES_A_TABLE)
        ]
        for number, part in enumerate(parts, start=1):
            title = family.capitalize() + (f" ({number} of {len(parts)})" if parts[1:] else "")
            cells = {score.kind: _column(score, held_up) for score in part}
            rows = tuple(
                (_name(study, one), *(cells[score.kind].get(one, Cell("")) for score in part))
                for one in competitors
                if any(one in score.summaries for score in part)
            )
            heads = (f"{score.kind.name} {ARROWS[score.kind.better]}" for score in part)
            tables.append(Table(title, (_head(study), *heads), rows, _values_note(study, part)))
    return tuple(tables)


def ranks_table(study: Study, order: Sequence[CompetitorRank]) -> Table:
    """Return the mean ranks of competitors by family and over all."""
    families = [
        family for family in study.families if any(family in one.by_family for one in order)
    ]
    columns = {
        family: {one.competitor: one.by_family[family] for one in order if family in one.by_family}
        for family in families
    }
    if len(families) > 1:
        columns["all"] = {one.competitor: one.overall for one in order if one.num_scores}
    lost = Counter(competitor for _, competitor in held_up_by_random(study))
    names = (_name(study, one.competitor, one.competitor in lost) for one in order)
    parts = [tuple(names)]
    single = _is_of_one_case(ranked_scores(study))
    parts += [
        tuple(_rank(column, one.competitor, single) for one in order) for column in columns.values()
    ]
    heads = [_head(study), *columns]
    total = num_ranked_scores(study)
    if any(one.num_scores < total for one in order):
        heads.append("ranked on")
        parts.append(tuple(Cell(f"{one.num_scores} of {total}") for one in order))
    if lost:
        heads.append("† on")
        counts = (lost[one.competitor] for one in order)
        parts.append(tuple(Cell(str(count) if count else "") for count in counts))
    return Table("Mean ranks", tuple(heads), tuple(zip(*parts, strict=True)), _ranks_note(study))


def nulls_sentence(study: Study) -> str:
    """Return a sentence on which null competitors there are, if any."""
    absent = [
        model
        for model in study.merged.models
        if not any(one.null and one.model == model for one in study.merged.competitors)
    ]
    found = dict.fromkeys(one.method for one in study.merged.competitors if one.null)
    advice = (
        "add `random_map` and `edge_map` to the methods: a method that does not beat them shows "
        "nothing"
    )
    if not found:
        return f"There is no null competitor; {advice}."
    sentence = f"Null competitors, in italics: {', '.join(found)}."
    if absent:
        sentence += f" {', '.join(absent)} has none; {advice}."
    return sentence


def _column(
    score: ScoreResult, held_up: set[tuple[ScoreColumn, Competitor]]
) -> dict[Competitor, Cell]:
    summaries = [one for one in score.summaries.values() if one.num_defined]
    most = max((one.num_defined for one in summaries), default=0)
    medians = [one.median for one in summaries]
    best = math.nan
    if not score.kind.refusal and len(summaries) > 1 and score.table.num_cases > 1:
        best = min(medians) if score.kind.better == "lower" else max(medians)
    cells = {
        one.competitor: Cell("undefined") for one in score.summaries.values() if not one.num_defined
    }
    for one in summaries:
        text = number_text(one.median)
        if one.num_defined > 1:
            text += f" [{number_text(one.q1)}, {number_text(one.q3)}]"
        if one.num_defined < most:
            text += f", n={one.num_defined}"
        dagger = (score.kind, one.competitor) in held_up
        is_null = bool(one.competitor.null)
        leads = bool(are_tied(np.array(one.median), np.array(best), score.kind))
        cells[one.competitor] = Cell(text, leads, is_null, dagger)
    return cells


def _rank(column: dict[Competitor, float], competitor: Competitor, single: bool) -> Cell:
    """Return a mean rank; those of one case have no mean over cases, and none leads by it."""
    if competitor not in column:
        return Cell("")
    rank, is_null = column[competitor], bool(competitor.null)
    if single:
        return Cell(f"{rank:.1f}".removesuffix(".0"), null=is_null)
    return Cell(f"{rank:.2f}", rank == min(column.values()), is_null)


def _is_of_one_case(scores: Sequence[ScoreResult]) -> bool:
    return max((score.table.num_cases for score in scores), default=0) == 1


def _name(study: Study, competitor: Competitor, dagger: bool = False) -> Cell:
    return Cell(study.merged.label(competitor), null=bool(competitor.null), dagger=dagger)


def _head(study: Study) -> str:
    return "method" if len(study.merged.models) == 1 else "model / method"


def _ranks_note(study: Study) -> str:
    counted = (
        "scores of one aspect count as one, each aspect the same within its family, and each "
        "family the same overall"
    )
    single = _is_of_one_case(ranked_scores(study))
    over, bold = ("", "") if single else ("Mean over cases of the rank", " Bold: best.")
    return (
        f"{ONE_CASE if single else ''}1 is best. {over or 'Rank'} on each score; {counted}.{bold}"
        f"{_dagger_note(study, 'on that number of faithfulness scores')}"
    )


def _values_note(study: Study, scores: Sequence[ScoreResult]) -> str:
    single = _is_of_one_case(scores)
    what = "Value, or median [quartiles] over targets." if single else ""
    unranked = [score.kind.name for score in scores if not score.kind.scale_free]
    follows = f" Never ranked, because it depends on the map's scale: {', '.join(unranked)}."
    return (
        f"{ONE_CASE if single else ''}{what or 'Median [quartiles] over cases and targets.'} "
        "↓ lower is better, ↑ higher is better, – neither."
        f"{'' if single else ' Bold: best median.'}"
        f"{follows if unranked else ''}{_dagger_note(study, '')}"
    )


def _dagger_note(study: Study, where: str) -> str:
    if not any(one.null == RANDOM for one in study.merged.competitors):
        return ""
    place = f" {where}" if where else ""
    return f" †: does not beat the random map{place}, in the median over cases."
