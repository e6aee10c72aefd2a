"""The score table of a report: a line a map, with a dagger where a random map does as well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from esegeta.compare.folder import family_of, in_order
from esegeta.compare.leaderboard import FAITHFULNESS, RANDOM
from esegeta.compare.merge import finite
from esegeta.compare.pages.runs import ReportRun, TaskKey
from esegeta.report import ScoreRow
from esegeta.report.page import ScoreCell, ScoreHead, ScoreLine

NOISE_P = 0.05
"""A map whose p of `random_map_baseline` is above it cannot be told from noise."""

Values = Mapping[tuple[TaskKey, str], ScoreRow]


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
            cells=tuple(_cell(run, key, head, values) for head in heads),
            failure=str(task.get("message") or "failed") if failed else "",
        )


def _cell(run: ReportRun, key: TaskKey, head: ScoreHead, values: Values) -> ScoreCell:
    row = values.get((key, head.name))
    if row is None or finite(row) != finite(row):
        reasons = run.sidecars.get(key, {}).get("score_reasons") or {}
        return ScoreCell(None, reason=str(reasons.get(head.name, "")))
    value = finite(row)
    rivals = _rivals(run, key, head, values)
    dagger = not run.is_null(key[2]) and _is_held_up(run, value, head, rivals)
    return ScoreCell(value, dagger=dagger, best=_is_best(value, head, rivals))


def _rivals(run: ReportRun, key: TaskKey, head: ScoreHead, values: Values) -> dict[str, float]:
    """Return the value of each method on the same case and target."""
    found = {}
    for other in run.tasks:
        row = values.get((other, head.name))
        if other[:2] == key[:2] and row is not None and finite(row) == finite(row):
            found[other[2]] = finite(row)
    return found


def _is_held_up(run: ReportRun, value: float, head: ScoreHead, rivals: Mapping[str, float]) -> bool:
    """Tell whether a random map of the same case and target does as well."""
    if head.name.rpartition(".")[2] == "random_map_baseline" or head.name == "random_map_baseline":
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
