"""Run an experiment: every case, every target, every method; resume where it was left."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from esegeta.report import (
    PredictionFiles,
    TaskFiles,
    read_sidecar,
    remove_other_components,
    remove_regions,
    save_prediction,
    write_curves,
    write_dataset_files,
    write_regions,
    write_scores,
)
from esegeta.targets import FrozenTarget, Scene, Target
from esegeta.volume import Case, read_case, sweep
from esegeta.workflow.build import Experiment
from esegeta.workflow.fingerprint import hash_inputs, prediction_fingerprint, task_fingerprint
from esegeta.workflow.group import TARGETS_AT_A_TIME, Aim, attempt_tasks, in_groups
from esegeta.workflow.map_task import Ground, MapTask, catch_failure
from esegeta.workflow.outcome import EXIT_USER, Listener, Outcome, Silence, TaskResult
from esegeta.workflow.outlook import expected_windows
from esegeta.workflow.record import Recorder
from esegeta.workflow.targets import TargetPlan


@dataclass(frozen=True)
class Policy:
    """How a run treats what is there and what fails.

    Args:
        overwrite: do finished tasks again.
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
        for index, case in enumerate(experiment.cases):
            session.run_case(_Case(index, case))
    except _StopRunError:
        session.listener.note("stopped at the first failure")
    write_tables(experiment, session.results)
    outcome = Outcome(session.results, time.perf_counter() - start)
    state = "incomplete" if outcome.failures else "complete"
    state = "failed" if outcome.exit_code == EXIT_USER else state
    session.recorder.write(session.results, state)
    return outcome


@dataclass(frozen=True)
class _Case:
    """A case, its place among the others, and the hashes of its files once they were read."""

    index: int
    files: Case
    inputs: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the case."""
        return self.files.name


class _Session:
    """A run while it goes on: what has been done, and who is told."""

    def __init__(self, experiment: Experiment, listener: Listener, policy: Policy) -> None:
        predictor = replace(experiment.predictor, on_windows=listener.advance)
        self.experiment = replace(experiment, predictor=predictor)
        self.listener = listener
        self.policy = policy
        self.recorder = Recorder(experiment)
        self._ended: list[tuple[tuple[int, ...], TaskResult]] = []

    @property
    def results(self) -> list[TaskResult]:
        """How units ended: by case, target and method, in whatever order they were done."""
        return [result for _, result in sorted(self._ended, key=lambda item: item[0])]

    def run_case(self, case: _Case) -> None:
        """Run all units of a case, loading it only if something is to be done."""
        self.listener.begin(case.name)

        def hash_files() -> TaskResult:
            case.inputs.update(hash_inputs(case.files))
            return TaskResult(case.name, "", "", "done")

        hashed = self._catch(hash_files, case)
        if hashed is not None:
            return self._fail_all(case, hashed)
        self.recorder.inputs.update(case.inputs)
        if self._skip_case(case):
            return None
        opened: list[tuple[Scene, Ground]] = []

        def open_scene() -> TaskResult:
            preprocess, reading = self.experiment.preprocess, self.experiment.reading
            volume, truth = read_case(case.files, preprocess, reading)
            volume = volume.to(self.experiment.device)
            scene = Scene(self.experiment.predictor, volume, truth)
            self._save_prediction(scene, case)
            opened.append((scene, self._ground(scene, case)))
            return TaskResult(case.name, "", "", "done")

        failure = self._catch(open_scene, case)
        if failure is not None:
            return self._fail_all(case, failure)
        ((scene, ground),) = opened
        for aims in in_groups(self._aims(case, scene), TARGETS_AT_A_TIME):
            self._run_group(case, aims, scene, ground)
        return None

    def _ground(self, scene: Scene, case: _Case) -> Ground:
        plans, preprocess = self.experiment.atlases, self.experiment.preprocess
        atlases = None
        if plans is not None:
            atlases = tuple(plan.load(scene, case.files, preprocess) for plan in plans)
        return Ground(scene.volume, atlases, self._provenance(case))

    def _aims(self, case: _Case, scene: Scene) -> Iterator[Aim]:
        """Yield the targets of a case in the config's order, each formed when it is its turn."""
        for place, plan in enumerate(self.experiment.targets):
            targets: dict[str, Target] = {}

            def form(plan: TargetPlan = plan, targets: dict[str, Target] = targets) -> TaskResult:
                targets.update(plan.targets(scene, case.files, self.experiment.preprocess))
                return TaskResult(case.name, plan.name, "", "done")

            failure = self._catch(form, case)
            if failure is not None:
                self._fail_plan(case, place, failure)
                continue
            if plan.splits:
                remove_other_components(self.experiment.root, case.name, plan.name, list(targets))
            if len(targets) > 1:
                self.listener.expect((len(targets) - 1) * len(self.experiment.methods))
            for rank, (name, target) in enumerate(targets.items()):
                yield Aim(plan, name, target, (place, rank))

    def _run_group(self, case: _Case, aims: Sequence[Aim], scene: Scene, ground: Ground) -> None:
        """Run all methods for a few targets, method by method."""
        frozen: dict[tuple[int, int], FrozenTarget] = {}
        for aim in aims:

            def freeze(aim: Aim = aim) -> TaskResult:
                frozen[aim.order] = aim.target.freeze(scene)
                return TaskResult(case.name, aim.name, "", "done")

            failure = self._catch(freeze, case)
            if failure is not None:
                self._fail_units(self._units(case, aim.plan, aim.name, aim.order), failure)
        aims = [aim for aim in aims if aim.order in frozen]
        rows = [self._units(case, aim.plan, aim.name, aim.order) for aim in aims]
        for units in zip(*rows, strict=True):
            todo = []
            for unit, aim in zip(units, aims, strict=True):
                known = None if self.policy.overwrite else unit.finished()
                if known is None:
                    todo.append((unit, frozen[aim.order]))
                else:
                    self._note(unit, known)
            if todo:
                self._do([unit for unit, _ in todo], [target for _, target in todo], ground)
        # They hold buffers of the volume's size, which the next targets have no use for.
        ground.cache.clear()

    def _do(
        self, units: Sequence[MapTask], targets: Sequence[FrozenTarget], ground: Ground
    ) -> None:
        names, one = ", ".join(unit.files.target for unit in units), units[0].files
        windows = self.experiment.predictor.windows(ground.volume.batch)
        self.listener.begin(
            f"{one.case} / {names} / {one.method}",
            len(units),
            expected_windows(units[0].explainer, targets, windows),
        )
        for unit, result in zip(units, attempt_tasks(units, targets, ground), strict=True):
            self._note(unit, result)

    def _units(
        self, case: _Case, plan: TargetPlan, name: str, order: tuple[int, int]
    ) -> Iterator[MapTask]:
        for place, (identity, explainer) in enumerate(self.experiment.methods.items()):
            print_ = task_fingerprint(
                self.experiment, case.files, plan, name, explainer, case.inputs
            )
            files = TaskFiles(self.experiment.root, case.name, name, identity)
            order_ = (case.index, *order, place)
            yield MapTask(self.experiment, case.files, files, explainer, print_, order_)

    def _plan_units(self, case: _Case, place: int) -> Iterator[MapTask]:
        plan = self.experiment.targets[place]
        return self._units(case, plan, plan.name, (place, 0))

    def _skip_case(self, case: _Case) -> bool:
        """Skip a case whose units are all finished; components are known only by predicting."""
        plans = self.experiment.targets
        if self.policy.overwrite or any(plan.splits for plan in plans):
            return False
        units = [unit for place in range(len(plans)) for unit in self._plan_units(case, place)]
        known = [(unit, unit.finished()) for unit in units]
        finished = [(unit, result) for unit, result in known if result is not None]
        files = PredictionFiles(self.experiment.root, case.name)
        if len(finished) < len(known) or not self._has_prediction(files, case):
            return False
        for unit, result in finished:
            self._note(unit, result)
        return True

    def _has_prediction(self, files: PredictionFiles, case: _Case) -> bool:
        sidecar = read_sidecar(files.sidecar)
        expected = prediction_fingerprint(self.experiment, case.inputs)
        matches = sidecar is not None and sidecar.get("fingerprint") == expected
        return matches and files.segmentation.is_file()

    def _save_prediction(self, scene: Scene, case: _Case) -> None:
        files = PredictionFiles(self.experiment.root, case.name)
        labels = self.experiment.predictor.labels
        if not self.policy.overwrite and self._has_prediction(files, case):
            return
        windows = self.experiment.predictor.windows(scene.volume.batch)
        self.listener.begin(f"{case.name}: prediction", windows=len(windows))
        label_map = labels.label_map(scene.logits)[0]
        fingerprint = prediction_fingerprint(self.experiment, case.inputs)
        provenance = {**self._provenance(case), "fingerprint": fingerprint}
        save_prediction(files, label_map, scene.volume, labels, provenance)

    def _provenance(self, case: _Case) -> dict[str, Any]:
        return {
            "inputs_sha256": case.inputs,
            "weights_sha256": self.experiment.weights_sha256,
            "esegeta": self.recorder.version,
        }

    def _catch(self, work: Any, case: _Case) -> TaskResult | None:
        """Do work; return its failure, or None."""

        def failed(status: Any, **more: Any) -> TaskResult:
            return TaskResult(case.name, "", "", status, **more)

        result = catch_failure(work, failed)
        return result if result.status == "failed" else None

    def _fail_all(self, case: _Case, failure: TaskResult) -> None:
        for place in range(len(self.experiment.targets)):
            self._fail_plan(case, place, failure)

    def _fail_plan(self, case: _Case, place: int, failure: TaskResult) -> None:
        self._fail_units(self._plan_units(case, place), failure, discard=bool(case.inputs))

    def _fail_units(
        self, units: Iterable[MapTask], failure: TaskResult, *, discard: bool = True
    ) -> None:
        for unit in units:
            if discard:  # the inputs could be read, so what does not match is of another run
                unit.discard()
            self._note(unit, unit.result("failed", **_reason(failure)))

    def _note(self, unit: MapTask, result: TaskResult) -> None:
        self._ended.append((unit.order, result))
        self.listener.end(result)
        self.recorder.write(self.results, "running")
        write_tables(self.experiment, self.results)
        if result.status == "failed" and self.policy.fail_fast:
            raise _StopRunError


def write_tables(experiment: Experiment, results: Sequence[TaskResult]) -> None:
    """Write scores.csv, curves.csv and, where maps are aggregated, regions.csv, by unit."""
    write_scores(experiment.root, [row for result in results for row in result.rows])
    write_curves(experiment.root, [curve for result in results for curve in result.curves])
    if experiment.atlases is None:
        remove_regions(experiment.root)
        return
    write_regions(
        experiment.root,
        [
            (result.case, result.target, result.method, row)
            for result in results
            for row in result.regions
        ],
    )


def _reason(failure: TaskResult) -> dict[str, Any]:
    return {
        "message": failure.message,
        "is_bug": failure.is_bug,
        "traceback": failure.traceback,
    }
