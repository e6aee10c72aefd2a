"""`esegeta run` as a list of tasks: for each case its prediction, then a map for each target and
method, and for each target that only the prediction reveals.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from esegeta.report import TaskFiles, write_dataset_files
from esegeta.workflow.build import Experiment
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import find_components
from esegeta.workflow.chance import nulls_first
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.curves import draw_all_curves
from esegeta.workflow.engine import run_command
from esegeta.workflow.fingerprint import task_parts
from esegeta.workflow.maps import MAP
from esegeta.workflow.placing import (
    cost_of_cases,
    piece_of,
    pieces_of_cases,
    placed,
    with_smaller_batch,
)
from esegeta.workflow.plans import TargetPlan
from esegeta.workflow.predict import PREDICTION, prediction_task
from esegeta.workflow.record import Recorder
from esegeta.workflow.scenes import scene_task
from esegeta.workflow.task import Content, Desk, Fault, Kind, Listener, Silence, Task

TARGETS_AT_A_TIME = 4
"""Targets that share forward passes; each holds a mask and a gradient of the volume's size."""


def run_experiment(
    experiment: Experiment, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Make every map of an experiment and write maps, tables and record.

    Finished maps whose fingerprint matches are skipped. One failure does not stop the others,
    unless the policy says so.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    listener = listener or Silence()
    return run_command(experiment_command(experiment, listener), listener, policy)


def experiment_command(experiment: Experiment, listener: Listener) -> Command:
    """Return a run as the engine sees it.

    Args:
        experiment: what is run.
        listener: is told of windows that went through the network.
    """
    predictor = replace(experiment.predictor, on_windows=listener.advance)
    experiment = replace(experiment, predictor=predictor)
    recorder = Recorder(experiment, PREDICTION)
    return Command(
        root=experiment.root,
        config=experiment.config,
        folder=experiment.root,
        job=experiment,
        tasks=list_tasks,
        num_tasks=len(experiment.cases) * len(experiment.targets) * len(experiment.methods),
        write=recorder.write,
        notes=experiment.notes,
        close=lambda results, desk: draw_all_curves(experiment, results),
        take_steps=recorder.take_steps,
        take_processes=recorder.take_processes,
        places=cost_of_cases(experiment),
        pieces=pieces_of_cases(experiment),
        smaller=with_smaller_batch,
    )


def list_tasks(desk: Desk) -> Iterator[Task]:
    """Yield all tasks, case by case; a case's files are hashed when it is its turn."""
    experiment: Experiment = desk.job
    if desk.places is None:  # else they are written by whoever gathers
        write_dataset_files(experiment.root, experiment.config.keys.name)
    for number, case in enumerate(experiment.cases):
        plans = _plans_here(experiment, case.name, desk)
        if plans:
            place = case.name
            if not desk.wants(place):  # but some of its targets: each who has some predicts it
                place = piece_of(place, plans[0].name)
            yield from placed(_tasks_of_case(experiment, number, plans), place)


def _plans_here(experiment: Experiment, case: str, desk: Desk) -> list[TargetPlan]:
    """Return the targets of a case whose maps are made here."""
    if desk.wants(case):
        return list(experiment.targets)
    return [plan for plan in experiment.targets if desk.wants(piece_of(case, plan.name))]


def _tasks_of_case(
    experiment: Experiment, number: int, plans: Sequence[TargetPlan]
) -> Iterator[Task]:
    case = experiment.cases[number]
    step = prediction_task(experiment, number)
    yield step
    if not any(plan.splits for plan in plans):
        yield from _maps(experiment, step, plans, {})
        return
    yield replace(
        step,
        name=f"{case.name}: components",
        kind=COMPONENTS,
        record=None,
        files=(),
        needs=(step.name,),
    )


def _maps(
    experiment: Experiment, step: Task, plans: Sequence[TargetPlan], found: Content
) -> Iterator[Task]:
    """Yield the maps of a case: a few targets at a time, which share passes, method by method.

    Args:
        experiment: experiment that they belong to.
        step: step of the same case that they need.
        plans: targets that are explained here.
        found: targets and faults of split entries, as the prediction revealed them.
    """
    faults: Content = found.get("faults", {})
    aims = [
        (plan, name, (place, rank))
        for place, plan in enumerate(experiment.targets)
        if plan in plans
        for rank, name in enumerate(found.get("targets", {}).get(plan.name, [plan.name]))
    ]
    for group in _in_groups(aim for aim in aims if aim[0].name not in faults):
        scope = (*step.scope, ", ".join(name for _, name, _ in group))
        for place, method in nulls_first(experiment.methods):
            batch = f"{' / '.join(scope)} / {method}"
            for plan, name, order in group:
                task = _map(experiment, step, plan, name, method)
                order = (step.data["case"], *order, place)
                yield replace(task, scope=scope, batch=batch, order=order)
        if experiment.config.keys.scene and experiment.config.keys.keeps_maps:
            for plan, name, _ in group:
                maps = {
                    method: _map(experiment, step, plan, name, method)
                    for method in experiment.methods
                }
                yield replace(scene_task(step, name, maps), scope=scope)
    for plan, name, order in aims:
        for place, method in enumerate(experiment.methods if plan.name in faults else ()):
            task = _map(experiment, step, plan, name, method)
            order = (step.data["case"], *order, place)
            yield replace(task, order=order, fault=Fault(faults[plan.name]))


def _map(experiment: Experiment, step: Task, plan: TargetPlan, name: str, method: str) -> Task:
    number, inputs = step.data["case"], step.data["inputs"]
    case, explainer = experiment.cases[number], experiment.methods[method]
    files = TaskFiles(experiment.root, case.name, name, method)
    key = None
    if step.key is not None:
        key = fingerprint(task_parts(experiment, case, plan, name, explainer, inputs))
    return Task(
        name=f"{case.name} / {name} / {method}",
        kind=MAP,
        key=key,
        record=files.sidecar,
        files=(
            *([files.map] if experiment.config.keys.keeps_maps else []),
            *([files.dicom] if experiment.config.keys.writes_dicom else []),
        ),
        data={
            "case": number,
            "plan": plan.name,
            "names": {"case": case.name, "target": name, "method": method},
            "inputs": inputs,
        },
        needs=(step.name,),
    )


def _maps_of_components(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    """Return the maps of a case whose components were looked for, or of the entries themselves."""
    experiment: Experiment = desk.job
    found = content or {}
    plans = _plans_here(experiment, task.data["names"]["case"], desk)
    own = [found.get("targets", {}).get(plan.name, [plan.name]) for plan in plans]
    desk.listener.expect(sum(len(names) - 1 for names in own) * len(experiment.methods))
    return list(placed(_maps(experiment, task, plans, found), task.place))


COMPONENTS = Kind(find_components, follow=_maps_of_components)


def _in_groups(items: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while group := list(itertools.islice(rest, TARGETS_AT_A_TIME)):
        yield group
