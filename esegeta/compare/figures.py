"""The study's figures as data: pages of boxes, diagrams of ranks, the map of correlations."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from esegeta.compare.leaderboard import ARROWS, standings
from esegeta.compare.merge import Competitor, ScoreColumn
from esegeta.compare.significance import ALPHA, Difference
from esegeta.compare.study import ScoreResult, Study
from esegeta.report import BoxPage, BoxPanel, HeatMap, RankDiagram, p_text

BOXES_A_PAGE = 320
"""A page holds at least one row of panels, and no more than about so many boxes."""


def box_pages(study: Study) -> Iterator[tuple[str, BoxPage]]:
    """Yield pages of box plots with their names: one a family, or more where it is a large one."""
    order = [standing.competitor for standing in standings(study)]
    methods = tuple(dict.fromkeys(one.method for one in order))
    nulls = frozenset(one.method for one in order if one.null)
    models = tuple(study.merged.models)
    panels_a_page = max(4, BOXES_A_PAGE // (len(methods) * len(models)) // 4 * 4)
    for family in study.families:
        scores = [score for score in study.scores if score.kind.family == family]
        for start in range(0, len(scores), panels_a_page):
            part = scores[start : start + panels_a_page]
            number = start // panels_a_page + 1
            name = f"boxes_{family}" + (f"_{number}" if number > 1 else "")
            shown = tuple(
                method
                for method in methods
                if any(one.method == method for score in part for one in score.summaries)
            )
            title = f"{family.capitalize()}: values over cases and targets"
            yield name, BoxPage(title, models, shown, nulls, tuple(map(_panel, part)))


def rank_diagrams(study: Study) -> Iterator[tuple[str, RankDiagram]]:
    """Yield the diagram of each score on which all competitors can be compared at once."""
    for score in study.scores:
        if isinstance(score.difference, Difference):
            yield f"critical_difference_{score.kind.name}", _diagram(study, score)


def correlation_map(study: Study) -> HeatMap:
    """Return the correlations of all scores: pooled below the diagonal, within targets above it."""
    kinds = [score.kind for score in study.scores]
    place = {kind: number for number, kind in enumerate(kinds)}
    values = np.full((len(kinds), len(kinds)), np.nan)
    np.fill_diagonal(values, 1.0)
    for one in study.correlations:
        row, column = sorted((place[one.first], place[one.second]), reverse=True)
        values[row, column] = one.turn * one.rho
        values[column, row] = one.turn * one.rho_within
    title = (
        "Do scores agree? Below the diagonal over all tasks, above it across the methods\n"
        "within a case and target (mean). Signs are turned so that red is agreement on what is\n"
        "better; for a score without a better direction (–), high counts as better."
    )
    names = tuple(f"{kind.name} {ARROWS[kind.better]}" for kind in kinds)
    return HeatMap(title, names, tuple(kind.family for kind in kinds), values)


def _panel(score: ScoreResult) -> BoxPanel:
    table = score.table
    values = {
        (one.model, one.method): table.values[table.defined[:, column], column].tolist()
        for column, one in enumerate(table.competitors)
    }
    return BoxPanel(score.kind.name, score.kind.better, values)


def _diagram(study: Study, score: ScoreResult) -> RankDiagram:
    found, ranking = score.difference, score.ranking
    assert isinstance(found, Difference)
    ordered: list[Competitor] = [ranking.competitors[place] for place in found.order]
    names = tuple(study.merged.label(one) for one in ordered)
    nulls = frozenset(study.merged.label(one) for one in ordered if one.null)
    differ = (
        "Bars join competitors that Nemenyi's test does not separate at 0.05."
        if found.p < ALPHA
        else "Friedman's test finds no difference, so pairs are not compared."
    )
    title = (
        f"{_head(score.kind)}: mean ranks over {len(ranking.cases)} cases\n"
        f"Friedman (Iman-Davenport) p: {p_text(found.p)}. {differ}"
    )
    return RankDiagram(title, names, found.mean_ranks, nulls, found.critical, found.cliques)


def _head(kind: ScoreColumn) -> str:
    return f"{kind.name} ({kind.better} is better)"
