"""What all scores of a run say about one map: judged, kept in its sidecar, and doubted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from esegeta.explain import Attribution, parameters_of
from esegeta.report import CurveRow, ScoreRow, TaskFiles
from esegeta.score import RandomMapBaseline, Score, ScoreContext

NOT_NOISE = 0.05
"""Share of random maps that may do as well as a map that is not taken for noise."""


@dataclass(frozen=True)
class Scored:
    """What all scores of a run say about one map.

    Args:
        rows: one row per value; None where it is undefined.
        reasons: reasons why a value is undefined, or what it leaves out, by its name in the rows.
        curves: one row per curve.
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
                over_shares=curve.over_shares,
            )
            for curve in judgement.curves
        ]
    return Scored(tuple(rows), tuple(reasons), tuple(curves))


def doubts_of_scores(scored: Scored, scores: Mapping[str, Score]) -> list[str]:
    """Return warnings of a map that random maps, or the edges of the image, equal."""
    known = {row.score: row.value for row in scored.rows if row.value is not None}
    doubts = []
    for identity, score in scores.items():
        if not isinstance(score, RandomMapBaseline):
            continue
        prefix = "" if identity == score.name else f"{identity}."
        base = score.base.name
        p, edges = (known.get(f"{prefix}{score.name}{end}") for end in ("", "_edges"))
        beaten = 0 if p is None else round(p * (score.samples + 1)) - 1
        if p is not None and beaten and p > NOT_NOISE:
            doubts.append(
                f"no better than noise: {beaten} of {score.samples} random maps do at least as "
                f"well on {base}"
            )
        if edges is not None and edges < 0:
            doubts.append(f"worse than the edges of the image on {base}")
    return doubts


def _curve_before(row: Mapping[str, Any]) -> CurveRow:
    # JSON has no NaN.
    y = tuple(math.nan if value is None else value for value in row["y"])
    # Sidecars of earlier versions say by the label alone that the axis is one of shares.
    over_shares = row.get("over_shares", row["x_label"].startswith("share"))
    lists = {"x": tuple(row["x"]), "y": y, "ticks": tuple(row["ticks"])}
    return CurveRow(**{**row, **lists, "over_shares": over_shares})
