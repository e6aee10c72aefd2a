"""Scores of one map: every value, why one is undefined, and the curves behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from esegeta.explain import Attribution, parameters_of
from esegeta.report import CurveRow, ScoreRow, TaskFiles
from esegeta.score import Score, ScoreContext


@dataclass(frozen=True)
class Scored:
    """What all scores of a run say of one map.

    Args:
        rows: one a value; None where it is undefined.
        reasons: why a value is undefined, or what it leaves out, by its name in the rows.
        curves: one a curve.
    """

    rows: tuple[ScoreRow, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    curves: tuple[CurveRow, ...] = ()

    def to_sidecar(self, scores: Mapping[str, Score]) -> dict[str, Any]:
        """Return what the map's sidecar keeps, from which `scored_before` reads it back."""
        return {
            "scores": [vars(row) for row in self.rows],
            "score_reasons": dict(self.reasons),
            "score_parameters": {key: parameters_of(score) for key, score in scores.items()},
            "curves": [vars(row) for row in self.curves],
        }


def scored_before(sidecar: Mapping[str, Any]) -> Scored:
    """Return the scores that a sidecar keeps."""
    return Scored(
        tuple(ScoreRow(**row) for row in sidecar.get("scores", [])),
        tuple(sidecar.get("score_reasons", {}).items()),
        tuple(_curve_before(row) for row in sidecar.get("curves", [])),
    )


def score_map(
    attribution: Attribution, context: ScoreContext, scores: Mapping[str, Score], files: TaskFiles
) -> Scored:
    """Judge a map by every score of a run; names of scores with an `id` start with it."""
    names = (files.case, files.target, files.method)
    rows, reasons, curves = [], [], []
    for identity, score in scores.items():
        better = {metric.name: metric.better for metric in score.metrics}
        prefix = "" if identity == score.name else f"{identity}."
        judgement = score.judge(attribution, context)
        for name, value in judgement.values.items():
            known = None if math.isnan(value) else value
            rows.append(ScoreRow(*names, prefix + name, known, better[name]))
        reasons += [(prefix + name, reason) for name, reason in judgement.reasons.items()]
        curves += [
            CurveRow(
                *names,
                score=identity,
                curve=curve.name,
                x_label=curve.x_label,
                y_label=curve.y_label,
                x=curve.x,
                y=curve.y,
                ticks=curve.ticks,
            )
            for curve in judgement.curves
        ]
    return Scored(tuple(rows), tuple(reasons), tuple(curves))


def _curve_before(row: Mapping[str, Any]) -> CurveRow:
    # JSON has no NaN.
    y = tuple(math.nan if value is None else value for value in row["y"])
    return CurveRow(**{**row, "x": tuple(row["x"]), "y": y, "ticks": tuple(row["ticks"])})
