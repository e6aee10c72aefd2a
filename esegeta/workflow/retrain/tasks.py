"""`esegeta retrain` as a list of tasks: one for each network that is trained.

References come first, then method by method and seed by seed: trainings of a method share its
maps, trainings of a seed the ranking of the voxels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from esegeta.report import remove_retraining
from esegeta.retraining import REFERENCE, Stream, Training, seed_of
from esegeta.retraining.samples import EMPTY, UNTOUCHED, rank_voxels
from esegeta.workflow.cache import fingerprint, keep_json
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.fingerprint import map_parts, prediction_parts
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.retrain.material import TrainingData, map_cases, read_material
from esegeta.workflow.retrain.record import RetrainingRecorder, recall_training
from esegeta.workflow.retrain.trainer import Trainer
from esegeta.workflow.task import Content, Desk, Kind, Listener, Task


class TrainingFingerprints:
    """Fingerprints of the trainings of a retraining.

    Untouched and empty images do not depend on the trained network, its target and its methods:
    when those change, the references stay.

    Args:
        retraining: retraining of the trainings.
        inputs: SHA-256 of every file of each case, by case and path.
    """

    def __init__(self, retraining: Retraining, inputs: Mapping[str, dict[str, str]]) -> None:
        self._retraining = retraining
        self._inputs = inputs
        self._maps: dict[str, str] = {}

    def of(self, training: Training) -> str:
        """Return the fingerprint of one training."""
        removal = training.removal
        parts = {"images": self._images, "seed": training.seed, "fold": training.fold}
        if removal != UNTOUCHED:
            parts["baseline"] = self._retraining.keys.baseline.model_dump(mode="json")
        if removal not in (UNTOUCHED, EMPTY):
            parts["removal"] = {"mode": removal.mode, "fraction": removal.fraction}
            parts["maps"] = self._of_maps(removal.method)
        return fingerprint(parts)

    @cached_property
    def _images(self) -> str:
        """What decides network, images and recipe of every training."""
        experiment = self._retraining.experiment
        model = experiment.config.keys.model.model_dump(
            mode="json", exclude={"weights", "weights_key"}
        )
        cases = [prediction_parts(experiment, inputs) for inputs in self._inputs.values()]
        return fingerprint(
            {
                "model": {**model, "code": experiment.code_sha256},
                "cases": [{**case, "model": None} for case in cases],
                "recipe": self._retraining.recipe.describe(),
                "folds": self._retraining.keys.folds,
            }
        )

    def _of_maps(self, method: str) -> str:
        if method not in self._maps:
            retraining, experiment = self._retraining, self._retraining.experiment
            explainer = retraining.methods[method]
            maps = [
                map_parts(experiment, case, retraining.target, explainer, self._inputs[case.name])
                for case in experiment.cases
            ]
            self._maps[method] = fingerprint({"maps": maps, "rank_by": retraining.keys.rank_by})
        return self._maps[method]


OF_ALL, OF_METHOD, OF_SEED = 0, 1, 2
"""How deep in the scope (method, seed) something is remembered."""


def run_retraining(
    retraining: Retraining, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Train every network of a retraining and write tables, figure and record.

    Networks whose result is there and matches are not trained again. One failure does not stop
    the others, unless the policy says so.

    Raises:
        DataError: a file of a case cannot be read.
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    return run_command(retraining_command(retraining), listener, policy)


def retraining_command(retraining: Retraining) -> Command:
    """Return a retraining as the engine sees it.

    Raises:
        DataError: a file of a case cannot be read.
    """
    inputs = {case.name: hash_inputs(case) for case in retraining.experiment.cases}
    recorder = RetrainingRecorder(retraining, inputs)
    return Command(
        root=retraining.experiment.root,
        config=retraining.experiment.config,
        folder=retraining.root,
        job=retraining,
        tasks=lambda desk: list_tasks(retraining, inputs),
        num_tasks=len(retraining.trainings()),
        write=recorder.write,
        close=recorder.close,
        notes=retraining.notes,
        places={training.name: 1.0 for training in retraining.trainings()},
    )


def list_tasks(retraining: Retraining, inputs: Mapping[str, dict[str, str]]) -> Iterator[Task]:
    """Yield a task for every network.

    Args:
        retraining: retraining that is done.
        inputs: SHA-256 of every file of each case, by case and path.
    """
    prints = TrainingFingerprints(retraining, inputs)
    for place, training in enumerate(retraining.trainings()):
        yield Task(
            name=training.name,
            kind=TRAINING,
            key=prints.of(training),
            record=training.file(retraining.root),
            data={"training": training},
            scope=(training.removal.method, f"seed {training.seed}"),
            place=training.name,
            order=(place,),
        )


def prepare_training(tasks: Sequence[Task], desk: Desk) -> None:
    """Read the cases; the figure of an earlier run is removed, since this one may contradict it.

    Raises:
        EsegetaError: a case cannot be read.
    """
    retraining: Retraining = desk.job
    desk.once("stale", lambda: remove_retraining(retraining.root), depth=OF_ALL)
    desk.note(*_material(desk).notes)


def train_one(task: Task, desk: Desk) -> Content:
    """Train and test one network and write its result.

    Raises:
        EsegetaError: its method's maps cannot be made, or its loss is not finite.
    """
    training: Training = task.data["training"]
    trainer = desk.once("trainer", lambda: _trainer(desk, training), depth=OF_SEED)
    desk.begin(training.name, [task], trainer.expected_windows(training))
    content = trainer.result(training, desk.listener)
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def discard_training(task: Task, desk: Desk) -> None:
    """Remove what an earlier run left: it would look like a result of this one."""
    assert task.record is not None
    task.record.unlink(missing_ok=True)


def rank_samples(material: TrainingData, maps: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Return the ranking of each sample's voxels; without maps, any order."""
    if not maps:
        return [torch.arange(sample.truth.numel()) for sample in material.samples]
    return [
        rank_voxels(
            maps[sample.case][sample.box], seed_of(Stream.TIES, seed, sample.place), sample.inside
        )
        for sample in material.samples
    ]


TRAINING = Kind(
    train_one,
    recall=recall_training,
    discard=discard_training,
    prepare=prepare_training,
    holds=("dice",),
    memory_hint="lower retrain.batch_size, retrain.patch or inference.batch_size",
)


def _material(desk: Desk) -> TrainingData:
    return desk.once("material", lambda: read_material(desk.job), depth=OF_ALL)


def _trainer(desk: Desk, training: Training) -> Trainer:
    material, method = _material(desk), training.removal.method

    def explain() -> list[Tensor]:
        return map_cases(desk.job, method, material, desk.listener)

    maps = [] if method == REFERENCE else desk.once("maps", explain, depth=OF_METHOD)
    return Trainer(desk.job, material, rank_samples(material, maps, training.seed))
