"""The cases of a command: hashed for fingerprints, opened once for all tasks."""

from __future__ import annotations

from dataclasses import dataclass

from esegeta.axes import LabelMap
from esegeta.config import blamed_on
from esegeta.errors import DataError, EsegetaError
from esegeta.explain import Atlas, OverlappingAtlas
from esegeta.model import file_sha256, foreign_integers, foreign_note
from esegeta.report import remove_other_components
from esegeta.targets import KeptPasses, Scene, Target
from esegeta.volume import Case, Volume, members
from esegeta.workflow.build import Basis, Experiment
from esegeta.workflow.plans import TargetPlan
from esegeta.workflow.task import Content, Desk, Task

OF_CASE, OF_TARGETS = 1, 2
"""How deep in the scope (case, targets) something is remembered."""


def hash_inputs(case: Case) -> dict[str, str]:
    """Return the SHA-256 of every file of a case, by path.

    Raises:
        DataError: one of them cannot be read.
    """
    named = [*case.images, *([case.label] if case.label is not None else [])]
    paths = [file for path in named for file in members(path)]
    try:
        return {str(path): file_sha256(path) for path in paths}
    except OSError as error:
        raise DataError(
            f"{case.name}: {error.filename}: cannot be read ({error.strerror})",
            hint="was it moved or removed since the command started?",
        ) from error


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A case that was read; its prediction is made on demand.

    Args:
        experiment: experiment that it belongs to.
        files: files of the case.
        scene: image, prediction and ground truth.
        notes: notes on its files.
    """

    experiment: Experiment
    files: Case
    scene: Scene
    notes: tuple[str, ...] = ()

    @property
    def volume(self) -> Volume:
        """The image."""
        return self.scene.volume


def open_case(desk: Desk, number: int) -> OpenCase:
    """Return a case of the desk's experiment, read once for the tasks that stand on it.

    Raises:
        EsegetaError: its files cannot be read.
    """

    def read() -> OpenCase:
        experiment: Experiment = desk.job
        files = experiment.cases[number]
        volume, truth = experiment.read(files)
        notes = () if truth is None else check_truth(truth, experiment, files)
        desk.note(*notes)
        volume = volume.to(experiment.device)
        known = experiment.known_logits.get(files.name)
        scene = Scene(experiment.predictor, volume, truth, known, kept=KeptPasses())
        return OpenCase(experiment, files, scene, notes)

    return desk.once("case", read, depth=OF_CASE)


def check_truth(truth: LabelMap, basis: Basis, case: Case) -> tuple[str, ...]:
    """Return a note where a case's ground truth holds integers of no label beside some that are.

    Raises:
        DataError: it holds integers, but none of the labels'; says where the config names it.
    """
    where = f"{case.name}: {case.label}"
    number = [one.name for one in basis.cases].index(case.name)
    with blamed_on(basis.config, "data", "cases", number, "label"):
        foreign = foreign_integers(truth, basis.predictor.labels, where)
    return (foreign_note(foreign, where),) if foreign else ()


def open_atlases(desk: Desk, case: OpenCase) -> tuple[Atlas | OverlappingAtlas, ...] | None:
    """Return the regions of a case by which its maps are summed up; None where they are not."""

    def load() -> tuple[Atlas | OverlappingAtlas, ...] | None:
        plans = case.experiment.atlases
        if plans is None:
            return None
        return tuple(
            plan.load(case.scene, case.files, case.experiment.preprocess) for plan in plans
        )

    return desk.once("atlases", load, depth=OF_CASE)


def targets_of(desk: Desk, case: OpenCase, plan: TargetPlan) -> dict[str, Target]:
    """Return the targets of an entry of the config on a case, by name: one, or one per component.

    Components are found once per case; other targets hold masks, and stay with their group.

    Raises:
        EsegetaError: they cannot be formed.
    """

    def form() -> dict[str, Target]:
        return plan.targets(case.scene, case.files, case.experiment.preprocess)

    return desk.once(("targets", plan.name), form, depth=OF_CASE if plan.splits else OF_TARGETS)


def find_components(task: Task, desk: Desk) -> Content:
    """Find the components that entries of the config are split into; stale maps are removed.

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
