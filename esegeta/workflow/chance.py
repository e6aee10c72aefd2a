"""Whether a map does better than a random one on the scores that ran, and what is said if not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from esegeta.explain import NULL, Explainer
from esegeta.report import TaskFiles, number_text
from esegeta.report.shapes import MapTold, read_told
from esegeta.score import RandomMapBaseline, Score
from esegeta.workflow.build import Experiment

FAITHFULNESS = "faithfulness"
RANDOM = "random_map"
MOST_BY_CHANCE = 0.05
"""The share of random maps that may do as well as a map that beats them."""

ROUNDING = 1e-6
"""Values that differ by less than this part of the larger one are the same."""


def nulls_first(methods: Mapping[str, Explainer]) -> list[tuple[int, str]]:
    """Return the methods of a run with their places, null maps first: the others are compared."""
    return sorted(enumerate(methods), key=lambda item: methods[item[1]].name not in NULL)


def doubts_of_chance(
    experiment: Experiment, names: Mapping[str, str], rows: list[dict[str, Any]]
) -> tuple[str, ...]:
    """Return the warning of a map that does not beat random ones, or nothing.

    By `random_map_baseline` where that ran; and by the headline figure of each score of
    faithfulness against the run's `random_map` of the same case and target, where that is
    finished. It is one map against another, and no test.

    Args:
        experiment: the run.
        names: names of case, target and method of the map.
        rows: values of the map, as the sidecar holds them.
    """
    if experiment.methods[names["method"]].name in NULL:
        return ()
    values = {row["score"]: row["value"] for row in rows if row["value"] is not None}
    lost = [*_beaten_by_many(experiment.scores, values), *_beaten_by_one(experiment, names, values)]
    return (f"does not beat a random map: {'; '.join(lost)}",) if lost else ()


def _beaten_by_many(scores: Mapping[str, Score], values: Mapping[str, float]) -> Iterator[str]:
    for identity, score in scores.items():
        if not isinstance(score, RandomMapBaseline):
            continue
        name = _column(identity, score)
        if values.get(name, 0.0) > MOST_BY_CHANCE:
            yield (
                f"{name} is {number_text(values[name])}, the share of random maps that do as well "
                f"on {score.base.headline().name}"
            )


def _beaten_by_one(
    experiment: Experiment, names: Mapping[str, str], values: Mapping[str, float]
) -> Iterator[str]:
    rivals = [one for one, method in experiment.methods.items() if method.name == RANDOM]
    if not rivals:
        return
    files = TaskFiles(experiment.root, names["case"], names["target"], rivals[0])
    theirs = {
        row["score"]: row["value"]
        for row in (read_told(files.sidecar, MapTold) or {}).get("scores", [])
    }
    for identity, score in experiment.scores.items():
        if score.family != FAITHFULNESS:
            continue
        name, metric = _column(identity, score), score.headline()
        own, other = values.get(name), theirs.get(name)
        if own is None or other is None or not metric.scale_free:
            continue
        gain = own - other if metric.better == "higher" else other - own
        if gain <= ROUNDING * max(abs(own), abs(other)):
            yield f"{name} is {number_text(own)}, that of {rivals[0]} {number_text(other)}"


def _column(identity: str, score: Score) -> str:
    """Return the name of a score's headline figure in the tables."""
    name = score.headline().name
    return name if identity == score.name else f"{identity}.{name}"
