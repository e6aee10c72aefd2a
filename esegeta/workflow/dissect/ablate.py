"""Switch off the best units of each concept, and random ones, and predict every case again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.dissection import Effect, detectors, effect_of, random_sets
from esegeta.dissection.thresholds import Thresholds
from esegeta.model import switched_off
from esegeta.report import ABLATION_COLUMNS, draw_effects, write_rows
from esegeta.targets import label_dice
from esegeta.volume import Case, atomic_path
from esegeta.workflow.cache import fingerprint, keep_json, keep_tensors, kept_tensors
from esegeta.workflow.cases import check_truth
from esegeta.workflow.dissect.build import Dissection
from esegeta.workflow.dissect.layers import check_switches
from esegeta.workflow.dissect.passes import thresholds_of
from esegeta.workflow.dissect.results import found_results
from esegeta.workflow.dissect.session import WHOLE, DissectionSession
from esegeta.workflow.dissect.tables import UnitResults
from esegeta.workflow.one_result import written
from esegeta.workflow.task import Content, Desk, Task


@dataclass(frozen=True)
class Trial:
    """Units of a layer that are switched off together.

    Args:
        layer: name of the layer.
        units: channels of the layer, ascending.
    """

    layer: str
    units: tuple[int, ...]


@dataclass(frozen=True)
class AblatedUnits:
    """The best units of a concept in a layer, and the random ones that they are compared with."""

    concept: str
    best: Trial
    others: tuple[Trial, ...]


@dataclass(frozen=True)
class AblationEffect:
    """What a question came to, for one label."""

    question: AblatedUnits
    label: str
    effect: Effect


@dataclass(frozen=True)
class Ablation:
    """All questions and the trials that answer them.

    Args:
        questions: one for each layer and concept.
        trials: trials of all questions, each once.
    """

    questions: tuple[AblatedUnits, ...]
    trials: tuple[Trial, ...]


def ablate_case(task: Task, desk: Desk) -> Content:
    """Predict a case as it is and with the units of each trial off; keep the Dice of each label.

    Raises:
        EsegetaError: the case cannot be read.
    """
    assert task.record is not None and task.key is not None
    session: DissectionSession = desk.job
    case = session.cases[task.data["case"]]
    trials = [Trial(layer, tuple(units)) for layer, units in task.data["trials"]]
    windows = len(session.dissection.basis.predictor.plan.lay(session.dissection.shapes[case.name]))
    desk.begin(task.name, [task], windows * (1 + len(trials)))
    scores = _dice_of_case(session, case, trials, thresholds_of(desk))
    keep_tensors(task.record, task.key, {"dice": scores})
    return {}


def write_ablation(task: Task, desk: Desk) -> Content:
    """Tell whether the best units of each concept matter; write the table and the figure."""
    session: DissectionSession = desk.job
    ablation, found = ablation_of(desk), written(desk)
    if not ablation.questions:
        found.notes.append("ablation: no unit is named, so none is switched off")
        return {}
    key = key_of(session, as_values(ablation.trials))
    scores = [
        kept_tensors(record_of(session, number), key)["dice"]
        for number in range(len(session.cases))
    ]
    answers = _answers(session, ablation.questions, ablation.trials, torch.stack(scores))
    folder = session.dissection.folder
    table, picture = folder / "ablation.csv", folder / "ablation.png"
    write_rows(table, ABLATION_COLUMNS, [_row(answer) for answer in answers])
    with atomic_path(picture) as temporary:
        title = f"{session.dissection.basis.config.keys.name}: change of Dice against random units"
        draw_effects(temporary, [_cell(answer) for answer in answers], title)
    found.files += [table, picture]
    found.notes += _notes(session, ablation.questions)
    return {}


def ablation_of(desk: Desk) -> Ablation:
    """Return what is asked of the units that earned a name, once all is counted."""

    def ask() -> Ablation:
        questions = questions_of(desk.job, found_results(desk))
        trials = dict.fromkeys(trial for one in questions for trial in (one.best, *one.others))
        return Ablation(tuple(questions), tuple(trials))

    return desk.once("ablation", ask, depth=WHOLE)


def as_values(trials: Sequence[Trial]) -> list[Any]:
    """Return trials as plain values."""
    return [[trial.layer, list(trial.units)] for trial in trials]


def ask_trials(task: Task, desk: Desk) -> Content:
    """Keep which units are switched off, so that cases can be shared out without the counts."""
    session: DissectionSession = desk.job
    asked = session.dissection.keys.ablation is not None
    content = {"trials": as_values(ablation_of(desk).trials) if asked else []}
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def trials_record(session: DissectionSession) -> tuple[Path, str]:
    """Return where they are kept, and their fingerprint."""
    return session.folder / "trials.json", fingerprint({"trials of": session.fingerprint})


def key_of(session: DissectionSession, trials: Sequence[Any]) -> str:
    """Return the fingerprint of what the Dice of each case stands on."""
    return fingerprint({"all": session.fingerprint, "trials": trials})


def record_of(session: DissectionSession, number: int) -> Path:
    """Return where the Dice of a case is kept."""
    return session.folder / "ablation" / f"{session.cases[number].name}.safetensors"


def _notes(session: DissectionSession, questions: Sequence[AblatedUnits]) -> list[str]:
    keys = session.dissection.keys.ablation
    assert keys is not None
    few = {
        question.best.layer: len(question.others)
        for question in questions
        if len(question.others) < keys.draws
    }
    return [
        f"ablation: {layer} has {count} other sets of units, not {keys.draws} draws; "
        f"intervals rely on these few, and p is at least {1 / (1 + count):.2g}"
        for layer, count in few.items()
    ]


def questions_of(session: DissectionSession, results: UnitResults) -> list[AblatedUnits]:
    """Return which units are switched off: the best of each concept and layer that is asked for."""
    dissection = session.dissection
    keys = dissection.keys.ablation
    assert keys is not None
    questions = []
    for number, layer in enumerate(dissection.layers):
        if keys.layers != "all" and layer.name not in keys.layers:
            continue
        for concept, found in detectors(results.findings, layer.name).items():
            if keys.concepts != "all" and concept not in keys.concepts:
                continue
            units = tuple(sorted(finding.unit for finding in found[: keys.units]))
            seed = dissection.basis.config.keys.seed + number
            sets = random_sets(layer.num_units, units, keys.draws, seed)
            others = tuple(Trial(layer.name, some) for some in sets)
            questions.append(AblatedUnits(concept, Trial(layer.name, units), others))
    return questions


def _dice_of_case(
    session: DissectionSession, case: Case, trials: Sequence[Trial], unit_thresholds: Thresholds
) -> Float[Tensor, "T L"]:
    """Return the Dice of each label: of the network as it is, then of each trial."""
    basis = session.dissection.basis
    predictor = basis.predictor
    volume, truth = basis.read(case)
    assert truth is not None
    volume, truth = volume.to(basis.device), truth.to(basis.device)
    x, inside = volume.batch, volume.inside

    check_truth(truth, basis, case)

    def dice() -> list[float]:
        found = label_dice(predictor.labels, predictor.logits(x), truth, inside=inside)
        return list(found.values())

    rows = [dice()]
    for trial in trials:
        values = _held_at(session, trial, unit_thresholds)
        with switched_off(predictor.network, trial.layer, trial.units, values):
            rows.append(dice())
    return torch.tensor(rows, dtype=torch.float64)


def _held_at(
    session: DissectionSession, trial: Trial, unit_thresholds: Thresholds
) -> Tensor | None:
    keys = session.dissection.keys.ablation
    assert keys is not None
    if keys.to == "zero":
        return None
    own = unit_thresholds.mean[session.dissection.units_of(trial.layer)]
    return own[list(trial.units)].float()


def _answers(
    session: DissectionSession,
    questions: Sequence[AblatedUnits],
    trials: Sequence[Trial],
    scores: Float[Tensor, "N T L"],
) -> list[AblationEffect]:
    places = {trial: place for place, trial in enumerate(trials, start=1)}
    labels = session.dissection.basis.predictor.labels
    seed = session.dissection.basis.config.keys.seed
    answers = []
    for question in questions:
        for column, name in enumerate(labels.foreground):
            dice = scores[:, :, column].numpy()
            others = [places[trial] for trial in question.others]
            effect = effect_of(
                dice[:, 0], dice[:, places[question.best]], dice[:, others].T, seed=seed
            )
            answers.append(AblationEffect(question, name, effect))
    return answers


def _row(answer: AblationEffect) -> dict[str, Any]:
    question = answer.question
    return {
        "layer": question.best.layer,
        "concept": question.concept,
        "units": " ".join(str(unit) for unit in question.best.units),
        "label": answer.label,
        **vars(answer.effect),
        "draws": len(question.others),
    }


def _cell(answer: AblationEffect) -> tuple[str, str, Effect]:
    question = answer.question
    units = ", ".join(str(unit) for unit in question.best.units)
    return f"{question.best.layer} [{units}]\n{question.concept}", answer.label, answer.effect


def check_ablation(dissection: Dissection) -> None:
    """Refuse, before anything else, layers whose units cannot be switched off.

    Raises:
        LayerError: a layer returns more than one tensor.
    """
    keys = dissection.keys.ablation
    if keys is None:
        return
    names = [layer.name for layer in dissection.layers]
    wanted = [name for name in names if keys.layers == "all" or name in keys.layers]
    check_switches(dissection.basis, wanted, "ablation")
