"""The step of a run that finds the components that a prediction is made of."""

from __future__ import annotations

from esegeta.errors import EsegetaError
from esegeta.report import remove_other_components
from esegeta.workflow.build import Experiment
from esegeta.workflow.cases import open_case, targets_of
from esegeta.workflow.desk import Desk
from esegeta.workflow.task import Content, Task


def find_components(task: Task, desk: Desk) -> Content:
    """Find the components that entries of the config are split into; what is gone is removed.

    Returns:
        Under `targets` the names of each entry's components, under `faults` why it has none.
    """
    experiment: Experiment = desk.job
    case = open_case(desk, task.data["case"])
    names: dict[str, list[str]] = {}
    faults: dict[str, str] = {}
    for plan in experiment.targets:
        if not plan.splits:
            continue
        try:
            targets = targets_of(desk, case, plan)
        except EsegetaError as error:
            faults[plan.name] = str(error)
            continue
        names[plan.name] = list(targets)
        remove_other_components(experiment.root, case.files.name, plan.name, names[plan.name])
    return {"targets": names, "faults": faults}
