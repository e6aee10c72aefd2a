"""Maps that were kept one by one: they join the record of the folder, as a run's own do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from esegeta.errors import OutputError
from esegeta.explain import Explainer, parameters_of
from esegeta.report import write_dataset_files, write_record
from esegeta.report.shapes import RunTold, read_told
from esegeta.results_folder import RUN_RECORD
from esegeta.targets import Scene
from esegeta.workflow.build import Experiment
from esegeta.workflow.cache import finished
from esegeta.workflow.cases import OF_CASE, OpenCase
from esegeta.workflow.predict import prediction_task
from esegeta.workflow.record import (
    KEPT_BY,
    describe_experiment,
    described,
    write_tables,
)
from esegeta.workflow.task import Desk, Ended, Silence


@dataclass(frozen=True, eq=False)
class KeptMap:
    """A map that joins the record of a folder.

    Args:
        case: number of the case in the experiment.
        target: name of the target, as used in file names.
        method: name of the method.
        explainer: the method itself.
        seconds: time that it took.
        warnings: warnings for the reader.
        kept_by: command that kept it.
    """

    case: int
    target: str
    method: str
    explainer: Explainer
    seconds: float
    warnings: Sequence[str]
    kept_by: str


def require_same_network(experiment: Experiment) -> None:
    """Refuse to add to a folder what another network made.

    Raises:
        OutputError: run.json names other weights.
    """
    record = read_told(experiment.root / RUN_RECORD, RunTold) or {}
    known = record.get("weights_sha256")
    if record and known != experiment.weights_sha256:
        raise OutputError(
            f"{experiment.root}: contains the run of another network",
            hint="name another folder with -o",
        )


def add_to_record(experiment: Experiment, scene: Scene, kept: KeptMap) -> None:
    """Write run.json with a map that was kept, and the prediction that it stands on.

    A record that is there keeps all that it says. Whoever calls this holds the folder.

    Args:
        experiment: experiment that owns the folder.
        scene: the case with its prediction, which is not made again.
        kept: map whose files are written.

    Raises:
        OutputError: the folder cannot be written.
    """
    prediction = _with_prediction(experiment, scene, kept.case)
    task = prediction.task
    entry = {
        "case": task.data["names"]["case"],
        "target": kept.target,
        "method": kept.method,
        "status": "done",
        "seconds": round(kept.seconds, 3),
        "message": "",
        "warnings": list(kept.warnings),
        KEPT_BY: kept.kept_by,
    }
    record = read_told(experiment.root / RUN_RECORD, RunTold) or _new_record(experiment)
    names = ("case", "target", "method")
    tasks = record.get("units") or []
    others = [one for one in tasks if any(one.get(key) != entry[key] for key in names)]
    predictions = record.get("predictions") or []
    is_new = all(one.get("case") != entry["case"] for one in predictions)
    write_record(
        experiment.root,
        {
            **record,
            "methods": {
                kept.method: parameters_of(kept.explainer),
                **(record.get("methods") or {}),
            },
            "inputs_sha256": {**(record.get("inputs_sha256") or {}), **task.data["inputs"]},
            "units": [*others, entry],
            "predictions": [*predictions, *([described(prediction)] if is_new else [])],
        },
    )


def _new_record(experiment: Experiment) -> dict[str, Any]:
    write_dataset_files(experiment.root, experiment.config.keys.name)
    write_tables(experiment, [], {})
    return {**describe_experiment(experiment), "state": "complete", "seconds": 0.0, "units": []}


def _with_prediction(experiment: Experiment, scene: Scene, number: int) -> Ended:
    """Write the prediction unless it is there and of the same fingerprint."""
    task = prediction_task(experiment, number)
    if finished(task) is not None:
        return Ended(task, "skipped")
    desk = Desk(experiment, Silence())
    desk.enter(task.scope)
    case = OpenCase(experiment, experiment.cases[number], scene)
    desk.once("case", lambda: case, depth=OF_CASE)
    content = task.kind.do(task, desk)
    return Ended(task, "done", warnings=tuple(content["warnings"]), content=content)
