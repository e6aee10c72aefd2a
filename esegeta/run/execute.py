"""Run an experiment: every case, every target, every method; resume where it was left."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from esegeta.report import (
    PredictionFiles,
    ScoreRow,
    UnitFiles,
    read_sidecar,
    remove_other_components,
    save_prediction,
    write_dataset_files,
    write_scores,
)
from esegeta.run.build import Experiment
from esegeta.run.fingerprint import hash_inputs, prediction_fingerprint, unit_fingerprint
from esegeta.run.outcome import EXIT_USER, Listener, Outcome, Silence, UnitResult
from esegeta.run.record import Recorder
from esegeta.run.targets import TargetPlan
from esegeta.run.unit import Unit, catch_failure
from esegeta.target import FrozenTarget, Scene, Target
from esegeta.volume import Case, read_case, sweep


@dataclass(frozen=True)
class Policy:
    """How a run treats what is there and what fails.

    Args:
        overwrite: do finished units again.
        fail_fast: stop at the first failure.
    """

    overwrite: bool = False
    fail_fast: bool = False


class _StopRunError(Exception):
    """The first failure under `fail_fast`."""


def run_experiment(
    experiment: Experiment, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Run every unit of an experiment and write maps, tables and record.

    Finished units whose fingerprint matches are skipped. One unit's failure does not stop the
    others, unless the policy says so.
    """
    session = _Session(experiment, listener or Silence(), policy or Policy())
    for note in experiment.notes:
        session.listener.note(note)
    start = time.perf_counter()
    sweep(experiment.root)
    write_dataset_files(experiment.root, experiment.config.keys.name, session.recorder.version)
    session.recorder.write(session.results, "running")
    session.listener.expect(
        len(experiment.cases) * len(experiment.targets) * len(experiment.methods)
    )
    try:
        for case in experiment.cases:
            session.run_case(case)
    except _StopRunError:
        session.listener.note("stopped at the first failure")
    write_scores(experiment.root, score_rows(session.results))
    outcome = Outcome(session.results, time.perf_counter() - start)
    state = "incomplete" if outcome.failures else "complete"
    state = "failed" if outcome.exit_code == EXIT_USER else state
    session.recorder.write(session.results, state)
    return outcome


class _Session:
    """A run while it goes on: what has been done, and who is told."""

    def __init__(self, experiment: Experiment, listener: Listener, policy: Policy) -> None:
        self.experiment = experiment
        self.listener = listener
        self.policy = policy
        self.results: list[UnitResult] = []
        self.recorder = Recorder(experiment)

    def run_case(self, case: Case) -> None:
        """Run all units of a case, loading it only if something is to be done."""
        self.listener.begin(case.name)
        inputs: dict[str, str] = {}

        def hash_files() -> UnitResult:
            inputs.update(hash_inputs(case))
            return UnitResult(case.name, "", "", "done")

        hashed = self._catch(hash_files, case)
        if hashed is not None:
            return self._fail_all(case, self.experiment.targets, hashed, inputs)
        self.recorder.inputs.update(inputs)
        if self._skip_case(case, inputs):
            return None
        scenes: list[Scene] = []

        def open_scene() -> UnitResult:
            volume, truth = read_case(case, self.experiment.preprocess, self.experiment.reading)
            volume = volume.to(self.experiment.device)
            scene = Scene(self.experiment.predictor, volume, truth)
            self._save_prediction(scene, case, inputs)
            scenes.append(scene)
            return UnitResult(case.name, "", "", "done")

        opened = self._catch(open_scene, case)
        if opened is not None:
            return self._fail_all(case, self.experiment.targets, opened, inputs)
        for plan in self.experiment.targets:
            self._run_plan(case, plan, scenes[0], inputs)
        return None

    def _run_plan(self, case: Case, plan: TargetPlan, scene: Scene, inputs: dict[str, str]) -> None:
        targets: dict[str, Target] = {}

        def form() -> UnitResult:
            targets.update(plan.targets(scene, case, self.experiment.preprocess))
            return UnitResult(case.name, plan.name, "", "done")

        failure = self._catch(form, case)
        if failure is not None:
            return self._fail_all(case, [plan], failure, inputs)
        if plan.splits:
            remove_other_components(self.experiment.root, case.name, plan.name, list(targets))
        if len(targets) > 1:
            self.listener.expect((len(targets) - 1) * len(self.experiment.methods))
        for name, target in targets.items():
            self._run_target(case, plan, name, target, scene, inputs)
        return None

    def _run_target(
        self,
        case: Case,
        plan: TargetPlan,
        name: str,
        target: Target,
        scene: Scene,
        inputs: dict[str, str],
    ) -> None:
        frozen: list[FrozenTarget] = []

        def freeze() -> UnitResult:
            frozen.append(target.freeze(scene))
            return UnitResult(case.name, name, "", "done")

        failure = self._catch(freeze, case)
        for unit in self._units(case, plan, name, inputs):
            if failure is not None:
                unit.discard()
                self._note(unit.result("failed", **_reason(failure)))
                continue
            known = None if self.policy.overwrite else unit.finished()
            if known is None:
                self.listener.begin(unit.result("done").name)
                known = unit.attempt(scene.volume, frozen[0], self._provenance(inputs))
            self._note(known)

    def _units(
        self, case: Case, plan: TargetPlan, name: str, inputs: dict[str, str]
    ) -> Iterator[Unit]:
        for identity, explainer in self.experiment.methods.items():
            print_ = unit_fingerprint(self.experiment, case, plan, name, explainer, inputs)
            files = UnitFiles(self.experiment.root, case.name, name, identity)
            yield Unit(self.experiment, case, files, explainer, print_)

    def _skip_case(self, case: Case, inputs: dict[str, str]) -> bool:
        """Skip a case whose units are all finished; components are known only by predicting."""
        plans = self.experiment.targets
        if self.policy.overwrite or any(plan.splits for plan in plans):
            return False
        files = PredictionFiles(self.experiment.root, case.name)
        known = [
            unit.finished() for plan in plans for unit in self._units(case, plan, plan.name, inputs)
        ]
        finished = [result for result in known if result is not None]
        if len(finished) < len(known) or not self._has_prediction(files, inputs):
            return False
        for result in finished:
            self._note(result)
        return True

    def _has_prediction(self, files: PredictionFiles, inputs: dict[str, str]) -> bool:
        sidecar = read_sidecar(files.sidecar)
        expected = prediction_fingerprint(self.experiment, inputs)
        matches = sidecar is not None and sidecar.get("fingerprint") == expected
        return matches and files.segmentation.is_file()

    def _save_prediction(self, scene: Scene, case: Case, inputs: dict[str, str]) -> None:
        files = PredictionFiles(self.experiment.root, case.name)
        labels = self.experiment.predictor.labels
        if not self.policy.overwrite and self._has_prediction(files, inputs):
            return
        label_map = labels.label_map(scene.logits)[0]
        fingerprint = prediction_fingerprint(self.experiment, inputs)
        provenance = {**self._provenance(inputs), "fingerprint": fingerprint}
        save_prediction(files, label_map, scene.volume, labels, provenance)

    def _provenance(self, inputs: dict[str, str]) -> dict[str, Any]:
        return {
            "inputs_sha256": inputs,
            "weights_sha256": self.experiment.weights_sha256,
            "esegeta": self.recorder.version,
        }

    def _catch(self, work: Any, case: Case) -> UnitResult | None:
        """Do work; return its failure, or None."""

        def failed(status: Any, **more: Any) -> UnitResult:
            return UnitResult(case.name, "", "", status, **more)

        result = catch_failure(work, failed)
        return result if result.status == "failed" else None

    def _fail_all(
        self, case: Case, plans: list[TargetPlan], failure: UnitResult, inputs: dict[str, str]
    ) -> None:
        for plan in plans:
            for unit in self._units(case, plan, plan.name, inputs):
                if inputs:  # they could be read, so what does not match them is of another run
                    unit.discard()
                self._note(unit.result("failed", **_reason(failure)))

    def _note(self, result: UnitResult) -> None:
        self.results.append(result)
        self.listener.end(result)
        self.recorder.write(self.results, "running")
        write_scores(self.experiment.root, score_rows(self.results))
        if result.status == "failed" and self.policy.fail_fast:
            raise _StopRunError


def score_rows(results: Sequence[UnitResult]) -> list[ScoreRow]:
    """Return the lines of scores.csv in the order of the units."""
    return [row for result in results for row in result.rows]


def _reason(failure: UnitResult) -> dict[str, Any]:
    return {
        "message": failure.message,
        "is_bug": failure.is_bug,
        "traceback": failure.traceback,
    }
