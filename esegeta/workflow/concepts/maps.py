"""Maps of concepts: where moving a layer along a concept changes a target, with all scores."""

from __future__ import annotations

from typing import Any

from esegeta.errors import EsegetaError
from esegeta.explain import ConceptDerivative
from esegeta.report import TaskFiles, save_attribution
from esegeta.report.files import file_part
from esegeta.score import ScoreCache, ScoreContext
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.concepts.fit import NAMED
from esegeta.workflow.concepts.rows import Row, rows_of
from esegeta.workflow.concepts.session import OF_CASE, ConceptSession, open_concepts
from esegeta.workflow.concepts.tables import is_significant
from esegeta.workflow.fingerprint import provenance
from esegeta.workflow.one_result import written
from esegeta.workflow.prepared import with_files
from esegeta.workflow.scored import doubts_of_scores, score_map
from esegeta.workflow.task import Content, Desk, Task


def mapped_rows(desk: Desk) -> list[int]:
    """Return which rows are mapped: of named concepts that hold, or all that are tested."""
    session: ConceptSession = desk.job
    wanted = session.run.keys.maps
    return [
        place
        for place, row in enumerate(rows_of(desk))
        if row.tcav is not None
        and wanted != "none"
        and (wanted == "all" or row.vectors.kind == NAMED)
        and (wanted == "all" or is_significant(row, session.run.keys.level))
    ]


def explainer_of(row: Row) -> ConceptDerivative:
    """Return the method whose map adds up to the size of a concept in a case."""
    assert row.vectors.fit is not None
    vector = tuple(float(value) for value in row.vectors.fit.mean.step)
    return ConceptDerivative(row.vectors.layer, vector, row.vectors.concept)


def make_map(task: Task, desk: Desk) -> Content:
    """Explain, score and write one map; a case that has no such target has none.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session: ConceptSession = desk.job
    number, place = task.data["case"], task.data["row"]
    row, opened = rows_of(desk)[place], open_concepts(desk, number)
    experiment = session.run.experiment
    plan = next(plan for plan in session.run.targets if plan.name == row.target)
    explainer = explainer_of(row)
    words = f"{opened.case.name} / {row.target} / {row.vectors.concept} in {row.vectors.layer}"
    desk.begin(words, [task])
    try:
        targets = plan.targets(opened.scene, opened.case, experiment.preprocess)
        frozen = {name: target.freeze(opened.scene) for name, target in targets.items()}
    except EsegetaError:
        return {}  # it was said when slopes were taken
    for name, target in frozen.items():
        method = f"concept-{file_part(row.vectors.concept)}-{file_part(row.vectors.layer)}"
        files = TaskFiles(session.run.basis.root, opened.case.name, name, method)
        attribution = explainer.explain(experiment.predictor, opened.volume, target)
        scores = {
            key: with_files(score, opened.case, experiment, opened.volume)
            for key, score in experiment.scores.items()
        }
        cache = desk.once(("score cache", name), ScoreCache, depth=OF_CASE)
        context = ScoreContext(experiment.predictor, explainer, cache)
        scored = score_map(attribution, context, scores, files)
        sidecar: dict[str, Any] = {
            **provenance(experiment, session.inputs(number)),
            "fingerprint": fingerprint({"all": session.fingerprint, "map": method, "of": name}),
            "concept": row.vectors.concept,
            "layer": row.vectors.layer,
            **scored.to_sidecar(scores),
        }
        save_attribution(
            files,
            attribution,
            sidecar,
            doubts=doubts_of_scores(scored, scores),
            dtype=experiment.config.keys.dtype,
            by=experiment.config.keys.maps.by,
            write=experiment.config.keys.write,
        )
        layer_maps = [files.layer_map(one.layer) for one in attribution.layer_maps]
        written(desk).files += [files.sidecar, files.overlay, files.map, *layer_maps]
    return {}
