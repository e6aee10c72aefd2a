"""`esegeta examples` as a list of tasks: items of cases, choices, influences, surrogates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from esegeta.model import file_sha256
from esegeta.volume import Case
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.command import Command, Outcome, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.examples.build import ExampleStudy
from esegeta.workflow.examples.embed import embed_case
from esegeta.workflow.examples.influence_plan import InfluencePlan
from esegeta.workflow.examples.influences import trace_checkpoint, train_without
from esegeta.workflow.examples.record import ExamplesRecorder
from esegeta.workflow.examples.select import select_items
from esegeta.workflow.examples.surrogates import describe_case, fit_label
from esegeta.workflow.fingerprint import prediction_parts
from esegeta.workflow.placing import cost_of_cases
from esegeta.workflow.task import Desk, Kind, Listener, Task

MEMORY_HINT = "lower inference.batch_size, inference.window or retrain.batch_size"


def discard_record(task: Task, desk: Desk) -> None:
    """Remove what an earlier run left: it would look like a result of this one."""
    assert task.record is not None
    task.record.unlink(missing_ok=True)
    for name in ("prototypes", "neighbours", "surrogate"):
        group = task.data.get("group", task.data.get("label"))
        if group is not None:
            (desk.job.root / f"{name}_{group}.png").unlink(missing_ok=True)


def _kind(do: Any, *holds: str) -> Kind:
    return Kind(do, discard=discard_record, holds=holds, memory_hint=MEMORY_HINT)


EMBED = _kind(embed_case)
SELECT = _kind(select_items, "group", "rows")
TRACE = _kind(trace_checkpoint, "values", "self")
TRAIN = _kind(train_without, "values")
DESCRIBE = _kind(describe_case, "tables")
FIT = _kind(fit_label, "label", "drawn")


class ExampleFingerprints:
    """What decides each result.

    Args:
        study: whose.
        inputs: SHA-256 of every file of each case, by case and path; of the training cases, whose
            names may be the same, after `training: `.
    """

    def __init__(self, study: ExampleStudy, inputs: Mapping[str, dict[str, str]]) -> None:
        self._study = study
        self._inputs = inputs

    def items(self, case: Case) -> str:
        """Return the fingerprint of the items of a case."""
        keys = self._study.keys
        return fingerprint(
            {
                "prediction": prediction_parts(self._study.basis, self._inputs[case.name]),
                "label": case.label is not None,
                "layer": keys.layer,
                "of": keys.of,
                "supervoxels": keys.supervoxels if keys.of == "supervoxel" else None,
                "min_voxels": keys.min_voxels,
                "groups": self._study.groups,
            }
        )

    def group(self, group: str) -> str:
        """Return the fingerprint of what is chosen of a group."""
        keys = self._study.keys
        return fingerprint(
            {
                "items": {case.name: self.items(case) for case in self._study.basis.cases},
                "group": group,
                "counts": [keys.prototypes, keys.criticisms, keys.neighbours],
                "name": self._study.basis.config.keys.name,
            }
        )

    def checkpoint(self, plan: InfluencePlan, number: int) -> str:
        """Return the fingerprint of influence at a checkpoint."""
        return fingerprint(
            {
                "common": self._influence,
                "checkpoint": file_sha256(plan.checkpoints[number]),
                "curved": plan.layers if number == len(plan.checkpoints) - 1 else None,
            }
        )

    def training(self, plan: InfluencePlan, seed: int, left_out: int | None) -> str:
        """Return the fingerprint of a network trained without an example."""
        return fingerprint(
            {
                "common": self._influence,
                "recipe": plan.recipe.describe(),
                "seed": seed,
                "left_out": left_out,
                "traced": ([plan.keys.leave_one_out, plan.layers] if left_out is None else None),
            }
        )

    @cached_property
    def _influence(self) -> str:
        """What decides targets and training examples."""
        basis, plan = self._study.basis, self._study.influence
        assert plan is not None  # else there are no such tasks
        inputs = self._inputs
        return fingerprint(
            {
                "tests": [prediction_parts(basis, inputs[case.name]) for case in basis.cases],
                "targets": [
                    [target.name, target.fingerprint(case)]
                    for target in plan.targets
                    for case in basis.cases
                ],
                "training": [
                    [list(inputs[f"training: {case.name}"].values()), case.name, case.told]
                    for case in plan.training.cases
                ],
                "slabs": plan.keys.training.slabs,
                "loss": [plan.recipe.loss, plan.recipe.loss_args],
            }
        )

    def regions(self, case: Case) -> str:
        """Return the fingerprint of the described regions of a case."""
        keys = self._study.keys
        return fingerprint(
            {
                "prediction": prediction_parts(self._study.basis, self._inputs[case.name]),
                "label": case.label is not None,
                "of": self._study.surrogate_of,
                "supervoxels": keys.supervoxels,
                "min_voxels": keys.min_voxels,
            }
        )

    def surrogate(self, label: str) -> str:
        """Return the fingerprint of the surrogate of a label."""
        keys = self._study.surrogate
        assert keys is not None  # else there is no such task
        return fingerprint(
            {
                "regions": {case.name: self.regions(case) for case in self._study.basis.cases},
                "label": label,
                "keys": keys.model_dump(mode="json"),
                "name": self._study.basis.config.keys.name,
            }
        )


def hashed(study: ExampleStudy) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of every file of each case, training cases after `training: `."""
    found = {case.name: hash_inputs(case) for case in study.basis.cases}
    if study.influence is not None:
        cases = study.influence.training.cases
        found |= {f"training: {case.name}": hash_inputs(case) for case in cases}
    return found


def list_tasks(study: ExampleStudy, inputs: Mapping[str, dict[str, str]]) -> Iterator[Task]:
    """Yield all tasks, each after those that it needs.

    Args:
        study: what is done.
        inputs: see `hashed`.
    """
    prints = ExampleFingerprints(study, inputs)
    folder = study.root / "units"
    cases = list(_case_tasks(study, prints))
    yield from cases
    yield from _group_tasks(study, prints, cases)
    if study.influence is not None:
        yield from _influence_tasks(study.influence, prints, folder)


def _case_tasks(study: ExampleStudy, prints: ExampleFingerprints) -> Iterator[Task]:
    folder = study.root / "units"
    for place, case in enumerate(study.basis.cases):
        data, scope = {"case": place}, (case.name,)
        if study.layer is not None:
            yield Task(
                name=f"{case.name} / items",
                kind=EMBED,
                key=prints.items(case),
                record=folder / f"{case.name}_items.safetensors",
                order=(0, place, 0),
                place=case.name,
                data=data,
                scope=scope,
            )
        if study.surrogate is not None:
            yield Task(
                name=f"{case.name} / regions",
                kind=DESCRIBE,
                key=prints.regions(case),
                record=folder / f"{case.name}_regions.json",
                order=(0, place, 1),
                place=case.name,
                data=data,
                scope=scope,
            )


def _group_tasks(
    study: ExampleStudy, prints: ExampleFingerprints, cases: Sequence[Task]
) -> Iterator[Task]:
    """Yield what stands on all cases, whose tasks it needs and whose records it reads."""
    folder = study.root / "units"
    items = [task for task in cases if task.kind is EMBED]
    for place, group in enumerate(study.groups if study.layer is not None else ()):
        yield Task(
            name=f"prototypes / {group}",
            kind=SELECT,
            key=prints.group(group),
            record=folder / f"prototypes_{group}.json",
            needs=tuple(task.name for task in items),
            data={"finds": "prototypes", "group": group, "records": _records_of(items)},
            order=(1, place),
        )
    regions = [task for task in cases if task.kind is DESCRIBE]
    for place, label in enumerate(study.labels if study.surrogate is not None else ()):
        yield Task(
            name=f"surrogate / {label}",
            kind=FIT,
            key=prints.surrogate(label),
            record=folder / f"surrogate_{label}.json",
            needs=tuple(task.name for task in regions),
            data={"finds": "surrogate", "label": label, "records": _records_of(regions)},
            order=(2, place),
        )


def _records_of(tasks: Sequence[Task]) -> dict[int, tuple[Path | None, str | None]]:
    """Return what tasks of cases leave, and its fingerprint, by the number of the case."""
    return {task.data["case"]: (task.record, task.key) for task in tasks}


def _influence_tasks(
    plan: InfluencePlan, prints: ExampleFingerprints, folder: Any
) -> Iterator[Task]:
    for number, path in enumerate(plan.checkpoints):
        name = f"influence / {path.name}"
        yield Task(
            name=name,
            kind=TRACE,
            key=prints.checkpoint(plan, number),
            record=folder / f"influence_{number}.json",
            data={"finds": "influence", "number": number},
            place=name,
            order=(3, number),
        )
    if plan.keys.leave_one_out is None:
        return
    for place, seed in enumerate(plan.keys.leave_one_out.seeds):
        for left_out in (None, *range(len(plan.example_names))):
            named = "all" if left_out is None else f"without {plan.example_names[left_out]}"
            file = "all" if left_out is None else f"without-{left_out}"
            name = f"leave one out / {named} / seed {seed}"
            yield Task(
                name=name,
                kind=TRAIN,
                key=prints.training(plan, seed, left_out),
                record=folder / f"trained_{file}_seed-{seed}.json",
                data={"finds": "leave one out", "seed": seed, "left_out": left_out},
                place=name,
                order=(4, place, -1 if left_out is None else left_out),
            )


def run_examples(
    study: ExampleStudy, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Do everything that is asked, and write tables, figures and record.

    What is there and matches is not done again. One failure does not stop the others, unless the
    policy says so.

    Raises:
        DataError: a file of a case cannot be read.
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    return run_command(examples_command(study), listener, policy)


def examples_command(study: ExampleStudy) -> Command:
    """Return the command as the engine sees it; see `run_examples`.

    A place is a case, a checkpoint, or a network that is trained without an example.
    """
    inputs = hashed(study)
    recorder = ExamplesRecorder(study, inputs)
    tasks = list(list_tasks(study, inputs))
    costs = cost_of_cases(study.basis)
    of_all = sum(costs.values())  # a checkpoint and a training see many cases
    return Command(
        root=study.basis.root,
        config=study.basis.config,
        folder=study.root,
        job=study,
        tasks=lambda desk: tasks,
        num_tasks=len(tasks),
        write=recorder.write,
        close=recorder.close,
        notes=study.notes,
        places={task.place: costs.get(task.place, of_all) for task in tasks if task.place},
    )
