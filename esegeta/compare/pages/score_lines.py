"""The score table of a report: a line per map, with a dagger where a random map does as well."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from esegeta.compare.folder import family_of, in_order
from esegeta.compare.leaderboard import FAITHFULNESS, RANDOM
from esegeta.compare.merge import finite
from esegeta.compare.pages.runs import ReportRun, TaskKey
from esegeta.report import ScoreRow
from esegeta.report.page import ScoreCell, ScoreHead, ScoreLine

NOISE_P = 0.05
"""A map whose p of `random_map_baseline` is above this cannot be told from noise."""

ScoreRows = Mapping[tuple[TaskKey, str], ScoreRow]

Rivals = Mapping[tuple[str, str, str], Mapping[str, float]]
"""The value of each method by case, target and score, where it is a number."""


def score_heads(runs: Sequence[ReportRun]) -> tuple[ScoreHead, ...]:
    """Return the columns, by family."""
    found: dict[str, ScoreHead] = {}
    for run in runs:
        for row in run.folder.rows:
            if row.score not in found:
                family = family_of(row.score, run.folder.score_names)
                found[row.score] = ScoreHead(row.score, row.better, family)
    families = in_order({head.family for head in found.values()})
    return tuple(sorted(found.values(), key=lambda head: families.index(head.family)))


def score_lines(run: ReportRun, heads: Sequence[ScoreHead]) -> Iterator[ScoreLine]:
    """Yield a line for each map of a run, and for each task that failed."""
    values = {((row.case, row.target, row.method), row.score): row for row in run.folder.rows}
    if not heads:
        return
    rivals = _rivals(run)
    for key, task in run.tasks.items():
        case, target, method = key
        failed = task.get("status") == "failed"
        yield ScoreLine(
            map=run.map_id(key),
            run=run.shown_name,
            case=case,
            target=target,
            method=method,
            null=run.is_null(method),
            cells=tuple(_cell(run, key, head, values, rivals) for head in heads),
            failure=str(task.get("message") or "failed") if failed else "",
        )


def _cell(
    run: ReportRun, key: TaskKey, head: ScoreHead, values: ScoreRows, all_rivals: Rivals
) -> ScoreCell:
    row = values.get((key, head.name))
    if row is None or math.isnan(finite(row)):
        reasons = run.sidecars.get(key, {}).get("score_reasons") or {}
        return ScoreCell(None, reason=str(reasons.get(head.name, "")))
    value = finite(row)
    rivals = all_rivals[key[0], key[1], head.name]
    dagger = not run.is_null(key[2]) and _is_held_up(run, value, head, rivals)
    return ScoreCell(value, dagger=dagger, best=_is_best(value, head, rivals))


def _rivals(run: ReportRun) -> Rivals:
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in run.folder.rows:
        if (row.case, row.target, row.method) in run.tasks and math.isfinite(finite(row)):
            group = found.setdefault((row.case, row.target, row.score), {})
            group[row.method] = finite(row)
    return found


def _is_held_up(run: ReportRun, value: float, head: ScoreHead, rivals: Mapping[str, float]) -> bool:
    """Tell whether a random map of the same case and target does as well."""
    if head.name.rpartition(".")[2] == "random_map_baseline":
        return value > NOISE_P
    if head.family != FAITHFULNESS or head.better == "none":
        return False
    randoms = [
        worth
        for method, worth in rivals.items()
        if run.folder.method_names.get(method, method) == RANDOM
    ]
    if head.better == "lower":
        return any(value >= worth for worth in randoms)
    return any(value <= worth for worth in randoms)


def _is_best(value: float, head: ScoreHead, rivals: Mapping[str, float]) -> bool:
    if head.better == "none" or len(rivals) < 2:
        return False
    return value == (min if head.better == "lower" else max)(rivals.values())
