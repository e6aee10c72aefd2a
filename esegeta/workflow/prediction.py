"""The step of a prediction: the segmentation of a case, and the components that it is made of."""

from __future__ import annotations

from esegeta.errors import EsegetaError
from esegeta.report import PredictionFiles, remove_other_components, save_prediction
from esegeta.workflow.build import Experiment
from esegeta.workflow.cases import open_case, targets_of
from esegeta.workflow.desk import Desk
from esegeta.workflow.record import provenance
from esegeta.workflow.task import Content, Kind, Task


def predict_case(task: Task, desk: Desk) -> Content:
    """Predict a case and write its segmentation.

    Raises:
        EsegetaError: the case cannot be read, or its logits are not finite.
    """
    case = open_case(desk, task.data["case"])
    experiment = case.experiment
    windows = experiment.predictor.windows(case.volume.batch)
    desk.begin(f"{case.files.name}: prediction", windows=len(windows))
    files = PredictionFiles(experiment.root, case.files.name)
    content = {
        **({"notes": list(case.notes)} if case.notes else {}),
        **provenance(experiment, task.data["inputs"]),
        "fingerprint": task.key,
    }
    save_prediction(files, case.scene.segmentation, case.volume, content)
    return content


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


PREDICTION = Kind(predict_case)
