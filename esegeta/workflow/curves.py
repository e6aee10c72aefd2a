"""Figures of the curves behind scores, drawn when all maps of a run are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, groupby

from esegeta.report import CurveFiles, CurveRow, draw_curves, shows_curves
from esegeta.volume import atomic_path
from esegeta.workflow.build import Experiment
from esegeta.workflow.scored import scored_before
from esegeta.workflow.task import Ended


def draw_all_curves(experiment: Experiment, results: Iterable[Ended]) -> None:
    """Draw one figure for each case, target and score that has curves, with all methods in it.

    Those that are there already, of the same curves, stay as they are.

    Args:
        experiment: what was run.
        results: how its tasks ended, those of a target side by side.
    """
    methods = experiment.methods.items()
    nulls = {name for name, explainer in methods if not explainer.meaning.reads_target}
    for (case, target), ended in groupby(results, _of_target):
        scores: dict[str, list[CurveRow]] = defaultdict(list)
        for row in chain.from_iterable(scored_before(one.content).curves for one in ended):
            scores[row.score].append(row)
        files = CurveFiles(experiment.root, case, target)
        files.remove_others(scores)
        for score, rows in scores.items():
            path, title = files.of_score(score), f"{case}: {target}, {score}"
            if shows_curves(path, rows, nulls, title):
                continue
            with atomic_path(path) as temporary:
                draw_curves(temporary, rows, nulls, title)


def _of_target(ended: Ended) -> tuple[str, str]:
    names = ended.task.data["names"]
    return names["case"], names["target"]
