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
from esegeta.targets import dice_of
from esegeta.volume import Case, atomic_path, read_case
from esegeta.workflow.dissect.build import check_switches
from esegeta.workflow.dissect.kept import keep, kept
from esegeta.workflow.dissect.session import Session
from esegeta.workflow.dissect.tables import Results
from esegeta.workflow.fingerprint import digest


@dataclass(frozen=True)
class Trial:
    """Units of a layer that are switched off together.

    Args:
        layer: name of the layer.
        units: its channels, ascending.
    """

    layer: str
    units: tuple[int, ...]


@dataclass(frozen=True)
class Question:
    """The best units of a concept in a layer, and the random ones that they are held against."""

    concept: str
    best: Trial
    others: tuple[Trial, ...]


@dataclass(frozen=True)
class Answer:
    """What a question came to, for one label."""

    question: Question
    label: str
    effect: Effect


@dataclass(frozen=True)
class FoundEffects:
    """What ablation came to.

    Args:
        files: that were written; none where no unit is named.
        notes: what a reader must know.
    """

    files: list[Path]
    notes: list[str]


def write_ablation(session: Session, results: Results, unit_thresholds: Thresholds) -> FoundEffects:
    """Ask whether the best units of each concept matter; write the table and the figure."""
    questions = questions_of(session, results)
    session.expect("ablation", len(session.cases) if questions else 0)
    if not questions:
        return FoundEffects([], ["ablation: no unit is named, so that none is switched off"])
    trials = list(dict.fromkeys(trial for one in questions for trial in (one.best, *one.others)))
    scores = [_dice_of_case(session, case, trials, unit_thresholds) for case in session.cases]
    answers = _answers(session, questions, trials, torch.stack(scores))
    folder = session.dissection.folder
    table, picture = folder / "ablation.csv", folder / "ablation.png"
    write_rows(table, ABLATION_COLUMNS, [_row(answer) for answer in answers])
    with atomic_path(picture) as temporary:
        title = f"{session.dissection.basis.config.keys.name}: change of Dice against random units"
        draw_effects(temporary, [_cell(answer) for answer in answers], title)
    return FoundEffects([table, picture], _notes(session, questions))


def _notes(session: Session, questions: Sequence[Question]) -> list[str]:
    keys = session.dissection.keys.ablation
    assert keys is not None
    few = {
        question.best.layer: len(question.others)
        for question in questions
        if len(question.others) < keys.draws
    }
    return [
        f"ablation: {layer} has {count} other sets of units, not {keys.draws} draws; "
        f"intervals are of these few, and no p is below {1 / (1 + count):.2g}"
        for layer, count in few.items()
    ]


def questions_of(session: Session, results: Results) -> list[Question]:
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
            questions.append(Question(concept, Trial(layer.name, units), others))
    return questions


def _dice_of_case(
    session: Session, case: Case, trials: Sequence[Trial], unit_thresholds: Thresholds
) -> Float[Tensor, "T L"]:
    """Return the Dice of each label: of the network as it is, then of each trial."""
    path = session.folder / "ablation" / f"{case.name}.safetensors"
    fingerprint = digest({"all": session.fingerprint, "trials": [repr(trial) for trial in trials]})
    found = kept(path, fingerprint)
    if found is not None:
        return found["dice"]
    basis = session.dissection.basis
    predictor = basis.predictor
    windows = len(predictor.plan.lay(session.dissection.shapes[case.name]))
    with session.stage(case, "ablation", windows * (1 + len(trials))):
        volume, truth = read_case(case, basis.preprocess, basis.reading)
        assert truth is not None
        x, truth = volume.to(basis.device).batch, truth.to(basis.device)

        def dice() -> list[float]:
            logits, labels = predictor.predict(x), predictor.labels
            return [
                dice_of(labels.predicted(logits, integer)[0], truth == integer)
                for integer in _integers(session)
            ]

        rows = [dice()]
        for trial in trials:
            values = _held_at(session, trial, unit_thresholds)
            with switched_off(predictor.network, trial.layer, trial.units, values):
                rows.append(dice())
        scores = torch.tensor(rows, dtype=torch.float64)
        keep(path, {"dice": scores}, fingerprint)
    return scores


def _held_at(session: Session, trial: Trial, unit_thresholds: Thresholds) -> Tensor | None:
    keys = session.dissection.keys.ablation
    assert keys is not None
    if keys.to == "zero":
        return None
    own = unit_thresholds.mean[session.dissection.units_of(trial.layer)]
    return own[list(trial.units)].float()


def _answers(
    session: Session,
    questions: Sequence[Question],
    trials: Sequence[Trial],
    scores: Float[Tensor, "N T L"],
) -> list[Answer]:
    places = {trial: place for place, trial in enumerate(trials, start=1)}
    names = session.dissection.basis.config.keys.labels
    seed = session.dissection.basis.config.keys.seed
    answers = []
    for question in questions:
        for column, integer in enumerate(_integers(session)):
            dice = scores[:, :, column].numpy()
            others = [places[trial] for trial in question.others]
            effect = effect_of(
                dice[:, 0], dice[:, places[question.best]], dice[:, others].T, seed=seed
            )
            answers.append(Answer(question, names[integer], effect))
    return answers


def _integers(session: Session) -> list[int]:
    return [
        integer for integer in sorted(session.dissection.basis.config.keys.labels) if integer != 0
    ]


def _row(answer: Answer) -> dict[str, Any]:
    question = answer.question
    return {
        "layer": question.best.layer,
        "concept": question.concept,
        "units": " ".join(str(unit) for unit in question.best.units),
        "label": answer.label,
        **vars(answer.effect),
        "draws": len(question.others),
    }


def _cell(answer: Answer) -> tuple[str, str, Effect]:
    question = answer.question
    units = ", ".join(str(unit) for unit in question.best.units)
    return f"{question.best.layer} [{units}]\n{question.concept}", answer.label, answer.effect


def check_ablation(session: Session) -> None:
    """Refuse, before anything else, layers whose units cannot be switched off.

    Raises:
        LayerError: a layer returns more than one tensor.
    """
    dissection = session.dissection
    keys = dissection.keys.ablation
    if keys is None:
        return
    names = [layer.name for layer in dissection.layers]
    wanted = [name for name in names if keys.layers == "all" or name in keys.layers]
    check_switches(dissection, wanted, "ablation")
