"""Surrogates: readable features of each case's regions, then a small model of each label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from esegeta.axes import LabelMap, Mask
from esegeta.dissection import find_body
from esegeta.examples import (
    Fidelity,
    SurrogateData,
    describe_regions,
    fit_surrogate,
    measure_fidelity,
    slab_groups,
)
from esegeta.examples.descriptors import DISTANCE_UNITS
from esegeta.model import connected_components
from esegeta.report import draw_surrogate
from esegeta.targets import Scene
from esegeta.workflow.cache import keep_json, read_json
from esegeta.workflow.examples.build import ExampleStudy
from esegeta.workflow.examples.embed import numbering_of
from esegeta.workflow.examples.open import OF_ALL, open_scene
from esegeta.workflow.task import Content, Desk, Task

FEWEST = 20
"""Regions that a surrogate needs, and of which there must be some with and without the label."""
FEWEST_OF_EACH = 5
LEAST_WEIGHT = 1e-6
"""Below it there is nothing but rounding."""


def describe_case(task: Task, desk: Desk) -> Content:
    """Describe the regions of a case, and say where each label is: what surrogates learn from.

    Raises:
        EsegetaError: the case cannot be read or predicted.
    """
    study: ExampleStudy = desk.job
    scene = open_scene(desk, task.data["case"])
    desk.begin(task.name, [task], len(scene.predictor.windows(scene.volume.batch)))
    structures = {label: _structure(scene, label) for label in study.labels}
    body = scene.within(find_body(scene.volume.data))
    content: dict[str, Any] = {"tables": {}}
    if study.surrogate_of == "supervoxel":
        numbers = _supervoxels(study, scene, body)
        sizes = torch.bincount(numbers.flatten())[1:]
        present = {
            label: (2 * _counts(numbers, scene.predicted(label)) > sizes).double().tolist()
            for label in study.labels
        }
        columns = describe_regions(scene.volume, numbers, body, structures)
        for label in study.labels:
            content["tables"][label] = _plain(columns, present[label], label)
    else:
        for label in study.labels:
            numbers, dice = _components(study, scene, label)
            columns = {}
            if len(dice):
                columns = describe_regions(scene.volume, numbers, body, structures)
            content["tables"][label] = _plain(columns, dice, label)
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def _structure(scene: Scene, label: str) -> Mask:
    """Return where a structure is: by the ground truth where there is one."""
    if scene.truth is None:
        return scene.predicted(label)
    return scene.truth_of(label, "a distance")


def _supervoxels(study: ExampleStudy, scene: Scene, body: Mask) -> LabelMap:
    """Return the supervoxels that lie in the body, numbered from 1 without a gap.

    Those of the air around it would be easy to tell, and make any surrogate look faithful.
    """
    return _gapless(numbering_of(study, scene, "supervoxel").of(body))


def _gapless(numbers: LabelMap) -> LabelMap:
    known, places = torch.unique(numbers, return_inverse=True)
    start = 0 if int(known[0]) == 0 else 1
    gapless: Tensor = places + start
    return gapless


def _counts(numbers: LabelMap, mask: Mask) -> Tensor:
    size = int(numbers.max()) + 1
    return torch.bincount(numbers[mask], minlength=size)[1:]


def _components(study: ExampleStudy, scene: Scene, label: str) -> tuple[LabelMap, list[float]]:
    """Return the predicted components of a label, and the Dice of each.

    A component's Dice is with the components of the ground truth that it touches, all of each.
    """
    numbers = connected_components(scene.predicted(label))
    sizes = torch.bincount(numbers.flatten())
    kept = sizes >= study.keys.min_voxels
    kept[0] = False
    numbers = _gapless(torch.where(kept[numbers], numbers, 0)) if bool(kept.any()) else numbers * 0
    truths = connected_components(scene.truth_of(label, "a Dice"))
    true_sizes = torch.bincount(truths.flatten())
    dice = []
    for number in range(1, int(numbers.max()) + 1):
        own = numbers == number
        touched = torch.unique(truths[own])
        touched = touched[touched > 0]
        common = int((own & (truths > 0)).sum())
        dice.append(2 * common / (int(own.sum()) + int(true_sizes[touched].sum())))
    return numbers, dice


def _plain(columns: Mapping[str, np.ndarray], answers: list[float], label: str) -> dict[str, Any]:
    """Return a table as plain values, without distances to the label that is predicted."""
    kept = {
        name: values.tolist()
        for name, values in columns.items()
        if name not in {f"to_{label}_{unit}" for unit in DISTANCE_UNITS}
    }
    return {"columns": kept, "answers": answers}


def fit_label(task: Task, desk: Desk) -> Content:
    """Measure how faithful a surrogate of a label is, and draw it where it is faithful enough."""
    study: ExampleStudy = desk.job
    keys = study.surrogate
    assert keys is not None  # else there is no such task
    desk.begin(task.name, [task])
    label = str(task.data["label"])
    file = f"surrogate_{label}.png"
    (study.root / file).unlink(missing_ok=True)
    tables = desk.once("tables", lambda: _read(task.data["records"]), depth=OF_ALL)
    table, notes = _table(study, tables, label)
    content: dict[str, Any] = {"label": label, "kind": keys.kind, "notes": notes, "weights": {}}
    reason = _too_little(table)
    if reason:
        content |= {"fidelity": None, "drawn": False, "regions": len(table.answers)}
        notes.append(f"surrogate of {label}: {reason}; there is no figure")
    else:
        fidelity = measure_fidelity(table, keys.kind, keys.depth)
        faithful = fidelity.value >= keys.least_fidelity
        content |= _told(fidelity, table, drawn=faithful)
        if faithful:
            surrogate = fit_surrogate(table, keys.kind, keys.depth)
            weights = zip(surrogate.features, surrogate.weights, strict=True)
            content["weights"] = {name: one for name, one in weights if abs(one) > LEAST_WEIGHT}
            content["files"] = [f"../{file}"]
            draw_surrogate(study.root / file, _title(study, label, fidelity, table), surrogate)
        else:
            notes.append(
                f"surrogate of {label}: fidelity {fidelity.value:.2f} on held-out "
                f"{_held_out(study)} is below {keys.least_fidelity:g}; it does not show what "
                "the network relies on, so there is no figure"
            )
    desk.note(*notes)
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def _read(records: Mapping[int, Any]) -> dict[int, Any]:
    found = {}
    for case, (path, key) in records.items():
        content = read_json(path, key)
        assert content is not None  # tasks that need it come after it
        found[case] = content["tables"]
    return found


def _table(
    study: ExampleStudy, tables: Mapping[int, Any], label: str
) -> tuple[SurrogateData, list[str]]:
    """Return the regions of all cases; those of a single one are grouped by where they lie."""
    notes: list[str] = []
    parts = [(case, one[label]) for case, one in tables.items() if one[label]["answers"]]
    names = list(parts[0][1]["columns"]) if parts else []
    names = [name for name in names if all(name in part["columns"] for _, part in parts)]
    values = [np.array([part["columns"][name] for name in names]).T for _, part in parts]
    answers = [np.array(part["answers"]) for _, part in parts]
    groups = [np.full(len(one), case) for (case, _), one in zip(parts, answers, strict=True)]
    is_dice = study.surrogate_of == "component"
    empty = np.zeros((0, len(names)))
    table = SurrogateData(
        tuple(names),
        np.concatenate(values) if values else empty,
        np.concatenate(answers) if answers else np.zeros(0),
        np.concatenate(groups) if groups else np.zeros(0, dtype=np.int64),
        "dice" if is_dice else "presence",
    )
    if len(parts) == 1 and len(table.answers):
        axis = next((name for name in reversed(names) if "_to_" in name), names[0])
        along = table.values[:, names.index(axis)]
        grouped = SurrogateData(
            table.features, table.values, table.answers, slab_groups(along.tolist()), table.question
        )
        notes.append(
            f"surrogate of {label}: a single case; parts of it along {axis} are held out, which "
            "are near neighbours, not new patients"
        )
        return grouped, notes
    return table, notes


def _too_little(table: SurrogateData) -> str:
    count = len(table.answers)
    if count < FEWEST:
        return f"{count} regions are fewer than {FEWEST}"
    if table.question == "dice":
        return "" if np.ptp(table.answers) > 0 else "all Dice are the same"
    positive = int(table.answers.sum())
    if min(positive, count - positive) < FEWEST_OF_EACH:
        return f"it is in {positive} of {count} regions, and {FEWEST_OF_EACH} of each are needed"
    return ""


def _held_out(study: ExampleStudy) -> str:
    return "parts of the case" if len(study.basis.cases) == 1 else "cases"


def _told(fidelity: Fidelity, table: SurrogateData, *, drawn: bool) -> dict[str, Any]:
    return {
        "question": table.question,
        "fidelity": fidelity.value,
        "drawn": drawn,
        "sensitivity": fidelity.sensitivity,
        "specificity": fidelity.specificity,
        "regions": fidelity.num_regions,
        "positive": fidelity.num_positive,
        "held_out": fidelity.num_groups,
    }


def _title(study: ExampleStudy, label: str, fidelity: Fidelity, table: SurrogateData) -> str:
    what = "predicted presence in supervoxels" if table.question == "presence" else "Dice"
    how = "sensitivity + specificity - 1" if table.question == "presence" else "R²"
    return (
        f"{study.basis.config.keys.name}: {label}, {what}\n"
        f"fidelity {fidelity.value:.2f} ({how}) on {_held_out(study)} held out; "
        f"{fidelity.num_regions} regions"
    )
