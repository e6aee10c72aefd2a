"""Curves behind scores, all methods of a case and target on one axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from esegeta.compare.pages.runs import ReportRun, TaskKey
from esegeta.report.page import Chart, ChartLine
from esegeta.report.page.charts import num_of

CUMULATIVE = "halo_cumulative"
HELD = 0.999
"""A halo is drawn to where all maps have this share of their mass."""

CurveName = tuple[str, str, str, str]
"""Case, target, score, curve."""


def charts_of(run: ReportRun) -> Iterator[Chart]:
    """Yield a chart for each case, target, score and curve."""
    groups: dict[CurveName, list[tuple[TaskKey, Mapping[str, Any]]]] = {}
    for key, sidecar in run.sidecars.items():
        for row in sidecar.get("curves") or ():
            name = (key[0], key[1], str(row["score"]), str(row["curve"]))
            groups.setdefault(name, []).append((key, row))
    for (case, target, score, curve), rows in groups.items():
        end = _end_of(run, groups.get((case, target, score, CUMULATIVE), ()))
        first = rows[0][1]
        yield Chart(
            case=run.case_id(case),
            target=target,
            title=score if curve == score else f"{score}: {curve}",
            x_label=str(first["x_label"]),
            y_label=str(first["y_label"]),
            lines=tuple(_line(run, key, row, end) for key, row in rows),
            ticks=tuple(map(str, first.get("ticks") or ())),
        )


def _line(run: ReportRun, key: TaskKey, row: Mapping[str, Any], end: float) -> ChartLine:
    x = list(range(len(row["x"]))) if row.get("ticks") else [float(value) for value in row["x"]]
    # JSON has no NaN.
    y = [math.nan if value is None else float(value) for value in row["y"]]
    points = [(a, b) for a, b in zip(x, y, strict=True) if a <= end]
    return ChartLine(
        name=key[2],
        x=tuple(a for a, _ in points),
        y=tuple(b for _, b in points),
        dashed=run.is_null(key[2]),
        note=_area(points),
    )


def _area(points: Sequence[tuple[float, float]]) -> str:
    """Return the area under a curve over shares from 0 to 1, in words; nothing for others."""
    if not points or (points[0][0], points[-1][0]) != (0, 1):
        return ""
    area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))
    return f"area {num_of(area)}" if math.isfinite(area) else ""


def _end_of(run: ReportRun, rows: Sequence[tuple[TaskKey, Mapping[str, Any]]]) -> float:
    """Return the distance within which all maps lie; infinite for curves other than a halo's.

    Maps that know nothing lie everywhere, and do not count beside others.
    """
    ends = []
    for _, row in [one for one in rows if not run.is_null(one[0][2])] or rows:
        points = zip(row["x"], row["y"], strict=True)
        ends.append(next((x for x, y in points if y is not None and y >= HELD), math.inf))
    return max(ends, default=math.inf)
