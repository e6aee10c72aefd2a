"""`esegeta predict` as a list of tasks: the segmentation of each case, which a run makes too.

Both commands leave the same files under the same fingerprint, so that each skips what the other
has finished.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.predict import Agreement, SourceGrid, agreement
from esegeta.report import (
    PREDICT,
    PredictionFiles,
    save_prediction,
    write_dataset_files,
    write_predictions,
    write_record,
)
from esegeta.report.shapes import PredictionTold, RunTold, read_told
from esegeta.results_folder import RUN_RECORD
from esegeta.volume import Case, read_source_labels
from esegeta.workflow.build import Experiment
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import OpenCase, hash_inputs, open_case
from esegeta.workflow.command import Command, CommandState, Outcome, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.fingerprint import provenance, segmentation_parts
from esegeta.workflow.lineage import LINEAGE, as_plain, lineage_in
from esegeta.workflow.placing import cost_of_cases, with_smaller_batch
from esegeta.workflow.record import (
    describe_experiment,
    describe_predictions,
    inputs_sha256,
    prediction_rows,
)
from esegeta.workflow.standing import Stopwatch
from esegeta.workflow.task import Content, Desk, Ended, Fault, Kind, Listener, Silence, Task

JOURNAL = ".predict.journal.jsonl"


def run_predictions(
    experiment: Experiment,
    listener: Listener | None = None,
    policy: Policy | None = None,
    *,
    probabilities: Sequence[str] = (),
) -> Outcome:
    """Make the prediction of every case, and compare it with the expected one where there is one.

    Args:
        experiment: experiment to predict; its targets and methods, if any, are ignored.
        listener: receives the progress.
        policy: how to treat existing results and failures.
        probabilities: labels whose probabilities are written too.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    listener = listener or Silence()
    command = predictions_command(experiment, listener, probabilities)
    return run_command(command, listener, policy)


def predictions_command(
    experiment: Experiment, listener: Listener, probabilities: Sequence[str] = ()
) -> Command:
    """Return predictions as the engine sees them; see `run_predictions`."""
    predictor = replace(experiment.predictor, on_windows=listener.advance)
    experiment = replace(experiment, predictor=predictor)

    def tasks(desk: Desk) -> Iterator[Task]:
        if desk.places is None:  # else they are written by whoever gathers
            write_dataset_files(experiment.root, experiment.config.keys.name)
        for number, case in enumerate(experiment.cases):
            if desk.wants(case.name):
                task = prediction_task(experiment, number, probabilities)
                yield replace(task, is_step=False, order=(number,), place=case.name)

    return Command(
        root=experiment.root,
        config=experiment.config,
        folder=experiment.root,
        job=experiment,
        tasks=tasks,
        num_tasks=len(experiment.cases),
        write=PredictionRecorder(experiment).write,
        notes=experiment.notes,
        journal=JOURNAL,
        places=cost_of_cases(experiment),
        smaller=with_smaller_batch,
    )


def prediction_task(experiment: Experiment, number: int, probabilities: Sequence[str] = ()) -> Task:
    """Return the prediction of a case as a step of other commands; its files are hashed."""
    case = experiment.cases[number]
    inputs, expected, fault = {}, {}, None
    try:
        inputs, expected = hash_inputs(case), _hash_expected(case)
    except EsegetaError as error:
        fault = Fault(str(error))
    files = PredictionFiles(experiment.root, case.name)
    key = fingerprint(segmentation_parts(experiment, inputs, expected))
    return Task(
        name=f"{case.name}: prediction",
        kind=PREDICTION,
        key=None if fault else key,
        record=files.sidecar,
        files=(
            files.segmentation,
            *(files.probability(label) for label in probabilities),
            *([files.dicom] if experiment.config.keys.writes_dicom else []),
        ),
        data={
            "case": number,
            "names": {"case": case.name},
            "inputs": inputs,
            "expected": expected,
            "probabilities": tuple(probabilities),
        },
        scope=(case.name,),
        is_step=True,
        fault=fault,
    )


def _hash_expected(case: Case) -> dict[str, str]:
    if case.expected is None:
        return {}
    return hash_inputs(Case(case.name, (case.expected,)))


def predict_case(task: Task, desk: Desk) -> Content:
    """Predict a case, write its segmentation and compare it with the expected one.

    Raises:
        EsegetaError: the case cannot be read, or its logits are not finite.
    """
    case = open_case(desk, task.data["case"])
    experiment = case.experiment
    predictor = experiment.predictor
    windows = predictor.windows(case.volume.batch)
    desk.begin(f"{case.files.name}: prediction", [task], windows=len(windows))
    rule = experiment.config.keys.prediction.resample
    source = case.scene.on_source(rule)
    compared, doubts = _compared(case, source, task.data["expected"])
    desk.note(*case.scene.warnings)
    content = {
        **({"notes": list(case.notes)} if case.notes else {}),
        **provenance(experiment, {**task.data["inputs"], **task.data["expected"]}),
        "fingerprint": task.key,
        **compared,
        "warnings": [*case.scene.warnings, *doubts],
    }
    files = PredictionFiles(experiment.root, case.files.name)
    save_prediction(
        files,
        source,
        content,
        probabilities=task.data["probabilities"],
        colours=experiment.config.keys.colors,
        write=experiment.config.keys.write,
    )
    return content


PREDICTION = Kind(predict_case, told=PredictionTold)


def _compared(
    case: OpenCase, source: SourceGrid, expected: Content
) -> tuple[dict[str, Any], list[str]]:
    """Return what the sidecar says about agreement with the expected labels, and warnings."""
    labels, label_map = source.labels, source.label_map
    if case.files.expected is None:
        sizes = {name: int(labels.shown(label_map, name).sum()) for name in labels.foreground}
        rows = [{"label": name, "num_voxels_predicted": size} for name, size in sizes.items()]
        return {"agreement": rows, "expected": None}, []
    # It lies on the grid of the image's file, where the prediction is written.
    theirs = read_source_labels(case.files.expected, case.files.name, case.volume.source)
    found = agreement(labels, label_map, theirs)
    least = case.experiment.config.keys.least_dice
    ((path, sha256),) = expected.items()
    compared = {
        "agreement": [vars(row) for row in found],
        "dice": {row.label: row.dice for row in found},
        "expected": {"file": path, "sha256": sha256, "expected_dice": least},
    }
    return compared, disagreement(found, case.files.expected.name, least)


def disagreement(found: Sequence[Agreement], name: str, least_dice: float) -> list[str]:
    """Return the warning that a prediction is not the expected one, or none."""
    below = [row for row in found if row.dice < least_dice]
    if not below:
        return []
    shown = ", ".join(f"{row.label} {row.dice:.4f}" for row in below)
    return [
        f"not your pipeline's prediction: Dice with {name} below expected_dice "
        f"{least_dice:g}: {shown}; docs/pipeline.md lists the usual causes"
    ]


class PredictionRecorder:
    """Writes predictions.csv, and run.json: of a run that is there its predictions, else all of it.

    Args:
        experiment: experiment that is predicted.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._root = experiment.root
        self._watch = Stopwatch()
        self._head = describe_experiment(experiment)

    def write(self, results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        """Write table and record as things stand."""
        write_predictions(self._root, prediction_rows(results))
        found = describe_predictions(results)
        record = read_told(self._root / RUN_RECORD, RunTold)
        if record is not None and record.get("command") != PREDICT:
            write_record(self._root, {**record, "predictions": found})
            return
        write_record(
            self._root,
            {
                **self._head,
                "command": PREDICT,
                LINEAGE: as_plain(lineage_in(self._root)),
                **self._watch.standing(state, notes),
                "inputs_sha256": inputs_sha256(results),
                "units": [],
                "predictions": found,
            },
        )
