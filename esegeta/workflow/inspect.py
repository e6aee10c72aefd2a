"""`esegeta inspect` as a list of tasks: counts case by case, tables, pictures, filters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from esegeta.results_folder import ANALYSES
from esegeta.workflow.cache import fingerprint
from esegeta.workflow.cases import hash_inputs
from esegeta.workflow.command import Command, CommandState, Outcome, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.fingerprint import prediction_parts
from esegeta.workflow.inside.acts import count_case, show_case, sum_up
from esegeta.workflow.inside.build import Inspection, build_inspection
from esegeta.workflow.inside.weigh import weigh
from esegeta.workflow.placing import cost_of_cases
from esegeta.workflow.plans import image_sha256
from esegeta.workflow.record import describe_basis, described_by_name
from esegeta.workflow.standing import TaskRecord, sha256_by_path
from esegeta.workflow.task import Ended, Kind, Listener, Task

__all__ = ["Inspection", "build_inspection", "run_inspection"]

MEMORY_HINT = "lower inference.batch_size or inference.window"
COUNT = Kind(count_case, memory_hint=MEMORY_HINT)
SUM_UP = Kind(sum_up, holds=("layers",), memory_hint=MEMORY_HINT)
SHOW = Kind(show_case, memory_hint=MEMORY_HINT)
WEIGH = Kind(weigh, memory_hint=MEMORY_HINT)


def run_inspection(
    job: Inspection, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Look inside, and write tables, maps, figures and the record.

    What is there and matches is not done again.

    Raises:
        DataError: a file of a case cannot be read.
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    return run_command(inspection_command(job), listener, policy)


def inspection_command(job: Inspection) -> Command:
    """Return the command as the engine sees it; see `run_inspection`."""
    inputs = {case.name: hash_inputs(case) for case in job.basis.cases}
    tasks = list(list_tasks(job, inputs))
    head = {
        **describe_basis(job.basis),
        "command": "inspect",
        "inputs_sha256": sha256_by_path(inputs),
    }
    record = TaskRecord(job.folder / ANALYSES["inspect"], head)

    def write(results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        record.write(state, notes, map(described_by_name, results))

    return Command(
        root=job.basis.root,
        config=job.basis.config,
        folder=job.folder,
        job=job,
        tasks=lambda desk: tasks,
        num_tasks=len(tasks),
        write=write,
        notes=job.basis.notes,
        places=cost_of_cases(job.basis),
    )


def list_tasks(job: Inspection, inputs: Mapping[str, dict[str, str]]) -> Iterator[Task]:
    """Yield a task for each case, the tables, the pictures of each shown case, and the filters."""
    layers = [layer.name for layer in job.layers]
    keys = {
        name: fingerprint({"network": prediction_parts(job.basis, files), "layers": layers})
        for name, files in inputs.items()
    }
    records = {str(job.folder / "work" / f"{name}.safetensors"): key for name, key in keys.items()}
    counts = [
        replace(_task(f"{name} / activations", COUNT, key, path, case=place), place=name)
        for place, (name, key, path) in enumerate(zip(keys, keys.values(), records, strict=True))
    ]
    yield from counts
    names = tuple(task.name for task in counts)
    chosen: dict[str, Any] = {"counts": keys, "channels": job.keys.channels, "by": job.keys.by}
    if job.units_table.is_file():  # it also names the channels in figures
        chosen["dissection"] = image_sha256(job.units_table)
    tables = str(job.folder / "layers.json")
    yield _task("layers", SUM_UP, fingerprint(chosen), tables, names, records=records)
    numbers = {case.name: place for place, case in enumerate(job.basis.cases)}
    for name in job.shown_cases:
        path = str(job.folder / name / f"{name}_activations.json")
        key = fingerprint({**chosen, "case": name})
        place = numbers[name]
        yield _task(f"{name} / pictures", SHOW, key, path, names, case=place, records=records)
    if job.keys.weights:
        first = next(iter(inputs.values()))
        key = fingerprint({"network": prediction_parts(job.basis, first), "layers": layers})
        yield _task("weights", WEIGH, key, str(job.folder / "weights" / "weights.json"))


def _task(
    name: str, kind: Kind, key: str, record: str, needs: tuple[str, ...] = (), **data: Any
) -> Task:
    return Task(name=name, kind=kind, key=key, record=Path(record), data=data, needs=needs)
