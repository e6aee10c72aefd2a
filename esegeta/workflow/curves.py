"""Figures of the curves behind scores, drawn when all maps of a run are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from esegeta.report import CurveFiles, CurveRow, draw_curves, shows_curves
from esegeta.volume import atomic_path
from esegeta.workflow.build import Experiment
from esegeta.workflow.scored import scored_before
from esegeta.workflow.task import Ended


def draw_all_curves(experiment: Experiment, results: Sequence[Ended]) -> None:
    """Draw one figure for each case, target and score that has curves, with all methods in it.

    Those that are there already, of the same curves, stay as they are.
    """
    found: dict[tuple[str, str], dict[str, list[CurveRow]]] = {}
    for ended in results:
        names = ended.task.data["names"]
        scores = found.setdefault((names["case"], names["target"]), defaultdict(list))
        for row in scored_before(ended.content).curves:
            scores[row.score].append(row)
    methods = experiment.methods.items()
    nulls = {name for name, explainer in methods if not explainer.meaning.reads_target}
    for (case, target), scores in found.items():
        files = CurveFiles(experiment.root, case, target)
        files.remove_others(scores)
        for score, rows in scores.items():
            path, title = files.of_score(score), f"{case}: {target}, {score}"
            if shows_curves(path, rows, nulls, title):
                continue
            with atomic_path(path) as temporary:
                draw_curves(temporary, rows, nulls, title)
