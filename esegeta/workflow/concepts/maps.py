"""Maps of concepts: where moving a layer along a concept changes a target, with all scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.explain import ConceptDerivative
from esegeta.report import TaskFiles
from esegeta.report.file_names import distinct_parts
from esegeta.targets import FrozenTarget
from esegeta.volume import noting_written
from esegeta.workflow.cache import fingerprint, finished
from esegeta.workflow.cases import OpenCase
from esegeta.workflow.concepts.fit import NAMED, Vectors, vectors_of
from esegeta.workflow.concepts.rows import Row, rows_of
from esegeta.workflow.concepts.session import (
    OF_CASE,
    ConceptSession,
    OpenConcepts,
    open_concepts,
)
from esegeta.workflow.concepts.tables import is_significant
from esegeta.workflow.fingerprint import provenance
from esegeta.workflow.maps import ExplainedCase, judge_and_write
from esegeta.workflow.one_result import written
from esegeta.workflow.predict import prediction_task
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


def map_concept(task: Task, desk: Desk) -> Content:
    """Explain, score and write the map of a concept in a case, of each component one.

    A case that has no such target has none. What maps are warned of is returned.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session: ConceptSession = desk.job
    number = task.data["case"]
    row, opened = rows_of(desk)[task.data["row"]], open_concepts(desk, number)
    desk.begin(
        f"{opened.case.name} / {row.target} / {row.vectors.concept} in {row.vectors.layer}", [task]
    )
    frozen = _frozen(session, row, opened)
    found = {name: _map_target(desk, number, row, name, target) for name, target in frozen.items()}
    kinds = ("warnings", "chance_warnings")
    return {
        kind: [
            f"{name}: {text}" if len(found) > 1 else text
            for name, content in found.items()
            for text in content[kind]
        ]
        for kind in kinds
    }


def _frozen(session: ConceptSession, row: Row, opened: OpenConcepts) -> dict[str, FrozenTarget]:
    plan = next(plan for plan in session.run.targets if plan.name == row.target)
    try:
        targets = plan.targets(opened.scene, opened.case, session.run.basis.preprocess)
        return {name: target.freeze(opened.scene) for name, target in targets.items()}
    except EsegetaError:
        return {}  # it was said when slopes were taken


def _map_target(desk: Desk, number: int, row: Row, name: str, target: FrozenTarget) -> Content:
    session: ConceptSession = desk.job
    explainer, opened = explainer_of(row), open_concepts(desk, number)
    method = _method_of(row.vectors, vectors_of(desk))
    experiment = replace(session.run.experiment, methods={method: explainer})
    files = TaskFiles(experiment.root, opened.case.name, name, method)
    facts: dict[str, Any] = {
        **provenance(experiment, session.inputs(number)),
        "fingerprint": fingerprint({"all": session.fingerprint, "map": method, "of": name}),
        "concept": row.vectors.concept,
        "layer": row.vectors.layer,
    }
    case = OpenCase(experiment, opened.case, opened.scene)
    doubts = desk.once("doubts", lambda: _doubts_of_prediction(desk, number), depth=OF_CASE)
    attribution = explainer.explain(experiment.predictor, opened.volume, target)
    made = ExplainedCase(case, explainer, target, attribution)
    with noting_written() as noted:
        content = judge_and_write(desk, made, files, doubts=doubts, facts=facts)
    there = [path for path in dict.fromkeys(noted) if path.is_file()]
    first = [path for path in (files.sidecar, files.overlay, files.map) if path in there]
    written(desk).files += dict.fromkeys([*first, *there])
    return content


def _method_of(own: Vectors, vectors: Sequence[Vectors]) -> str:
    """Return what stands for the method in the names of a concept's maps."""
    plain = {(one.concept, one.layer): f"concept-{one.concept}-{one.layer}" for one in vectors}
    return distinct_parts(plain)[own.concept, own.layer]


def _doubts_of_prediction(desk: Desk, number: int) -> Sequence[str]:
    """Return what is wrong with the prediction: as it is kept, where it is that of this network."""
    session: ConceptSession = desk.job
    kept = finished(prediction_task(session.run.experiment, number), desk.check)
    found = open_concepts(desk, number).scene.warnings if kept is None else kept.get("warnings", ())
    return tuple(found)
