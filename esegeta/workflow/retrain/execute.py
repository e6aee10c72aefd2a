"""Run a retraining: every network that is to be trained; resume where it was left."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from esegeta.report import draw_retraining, remove_retraining, write_dice, write_dice_points
from esegeta.retraining import Stream, Training, seed_of
from esegeta.retraining.removal import REFERENCE, rank_voxels
from esegeta.retraining.summary import MEAN, summarize_dice, verdict
from esegeta.run.unit import catch_failure
from esegeta.volume import sweep
from esegeta.workflow import EXIT_USER, Listener, Outcome, Silence
from esegeta.workflow.fingerprint import hash_inputs
from esegeta.workflow.retrain.build import Retraining
from esegeta.workflow.retrain.fingerprint import Fingerprints
from esegeta.workflow.retrain.maps import map_cases
from esegeta.workflow.retrain.material import Material, read_material
from esegeta.workflow.retrain.record import RetrainingRecorder
from esegeta.workflow.retrain.trainer import Trainer
from esegeta.workflow.retrain.training import TrainingResult, dice_rows, discard_result, read_result


def run_retraining(retraining: Retraining, listener: Listener | None = None) -> Outcome:
    """Train every network of a retraining and write tables, figure and record.

    Networks whose result is there and matches are not trained again. One failure does not stop
    the others.

    Raises:
        EsegetaError: a case cannot be read, or the folder cannot be written.
    """
    start = time.perf_counter()
    session = _Session(retraining, listener or Silence())
    session.run()
    outcome = Outcome(session.results, time.perf_counter() - start)
    state = "incomplete" if outcome.failures else "complete"
    session.close("failed" if outcome.exit_code == EXIT_USER else state)
    return outcome


class _Session:
    """A retraining while it goes on: what has been done, and who is told."""

    def __init__(self, retraining: Retraining, listener: Listener) -> None:
        self.retraining = retraining
        self.listener = listener
        inputs = {case.name: hash_inputs(case) for case in retraining.experiment.cases}
        self.prints = Fingerprints(retraining, inputs)
        self.trainings = retraining.trainings()
        self.ended: dict[Training, TrainingResult] = {}
        self.recorder = RetrainingRecorder(retraining, inputs)

    @property
    def results(self) -> list[TrainingResult]:
        """How trainings ended, in the order of the retraining."""
        return [self.ended[training] for training in self.trainings if training in self.ended]

    def run(self) -> None:
        """Skip what is finished and do the rest, one method's maps at a time."""
        todo = []
        for training in self.trainings:
            known = read_result(training, self.retraining.root, self.prints.of(training))
            if known is None:
                todo.append(training)
            else:
                self.ended[training] = known
        self.note(*self.retraining.experiment.notes)
        self.listener.expect(len(self.trainings))
        for result in self.results:
            self.listener.end(result)
        if not todo:
            self.note(*self.recorder.earlier_notes())
            return
        material = read_material(self.retraining)
        self.note(*material.notes)
        sweep(self.retraining.root)
        remove_retraining(self.retraining.root)
        for training in todo:
            discard_result(training, self.retraining.root)
        for method, group in itertools.groupby(todo, key=lambda one: one.removal.method):
            self.write("running")
            self._run_method(method, list(group), material)

    def note(self, *texts: str) -> None:
        """Tell of something, and record it; once."""
        for text in dict.fromkeys(texts):
            if text in self.recorder.notes:
                continue
            self.listener.note(text)
            self.recorder.notes.append(text)

    def close(self, state: str) -> None:
        """Write the tables, the figure and the record as they stay."""
        rows = dice_rows(self.results, self.retraining.keys.modes)
        summary = summarize_dice(rows, self.retraining.random)
        self.note(*verdict(rows, self.retraining.label))
        if summary:
            labels = list(dict.fromkeys((self.retraining.label, MEAN)))
            draw_retraining(
                self.retraining.root, summary, labels, self.retraining.random, self._title()
            )
        self.write(state)

    def write(self, state: str) -> None:
        """Write tables and record as things stand."""
        rows = dice_rows(self.results, self.retraining.keys.modes)
        write_dice(self.retraining.root, rows)
        write_dice_points(self.retraining.root, summarize_dice(rows, self.retraining.random))
        self.recorder.write(self.results, state)

    def _run_method(self, method: str, trainings: Sequence[Training], material: Material) -> None:
        maps: list[Tensor] = []
        if method != REFERENCE:

            def explain() -> TrainingResult:
                maps.extend(map_cases(self.retraining, method, material, self.listener))
                return TrainingResult(trainings[0], "done")

            failure = catch_failure(explain, _failed(trainings[0]))
            if failure.status == "failed":
                self._fail(trainings, failure)
                return
        for seed, group in itertools.groupby(trainings, key=lambda one: one.seed):
            trainer = Trainer(self.retraining, material, rank_samples(material, maps, seed))
            for training in group:
                self.listener.begin(training.name, 1, trainer.expected_windows(training))
                self._end(trainer.attempt(training, self.prints.of(training), self.listener))

    def _fail(self, trainings: Iterable[Training], failure: TrainingResult) -> None:
        for training in trainings:
            self._end(replace(failure, training=training))

    def _end(self, result: TrainingResult) -> None:
        self.ended[result.training] = result
        self.listener.end(result)
        write_dice(self.retraining.root, dice_rows(self.results, self.retraining.keys.modes))
        self.recorder.write(self.results, "running")

    def _title(self) -> str:
        keys, name = self.retraining.keys, self.retraining.experiment.config.keys.name
        return (
            f"{name}: Dice after retraining without (ROAR) or with only (KAR) the voxels that rank "
            f"highest for {self.retraining.target.name}\n"
            f"mean over {len(keys.seeds)} seeds x {keys.folds} folds with 95 % confidence interval "
            f"(Student's t); in place of removed voxels: {keys.baseline.kind}"
        )


def rank_samples(material: Material, maps: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Return the ranking of each sample's voxels; without maps, any order."""
    if not maps:
        return [torch.arange(sample.truth.numel()) for sample in material.samples]
    return [
        rank_voxels(maps[sample.case][sample.box], seed_of(Stream.TIES, seed, sample.place))
        for sample in material.samples
    ]


def _failed(training: Training) -> Any:
    def result(status: Any, **more: Any) -> TrainingResult:
        return TrainingResult(training, status, **more)

    return result
