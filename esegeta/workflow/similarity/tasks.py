"""`esegeta similarity` as a list of tasks: one per case, and one that puts their sums together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.report import read_sidecar
from esegeta.workflow.command import Command, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.one_result import (
    OneResult,
    list_missing,
    list_parts,
    recall_nothing,
    write_nothing,
)
from esegeta.workflow.placing import cost_of_cases
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.results import PAIRS, RECORD, clear, write_results
from esegeta.workflow.similarity.sample import sample_case
from esegeta.workflow.similarity.session import MEMORY_HINT, SimilaritySession
from esegeta.workflow.task import Desk, Fault, Kind, Listener, Silence, Task

STAGE = "similarity"


@dataclass(frozen=True)
class Compared(OneResult):
    """How a comparison ended.

    Args:
        outcome: outcome of its tasks, that of the results last.
        record: content of similarity.json; empty where the comparison did not finish.
    """

    record: Mapping[str, Any] = field(default_factory=dict)


def run_comparison(
    comparison: Comparison, listener: Listener | None = None, policy: Policy | None = None
) -> Compared:
    """Compare, and write tables, figures and, last of all, similarity.json.

    What an earlier run of the same comparison has finished is not done again.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM; cases that are done are kept.
    """
    listener, policy = listener or Silence(), policy or Policy()
    command = comparison_command(comparison, listener)
    if policy.overwrite:
        command = replace(command, tasks=list_anew)
    outcome = run_command(command, listener, policy)
    record = None if outcome.failures else read_sidecar(comparison.folder / RECORD)
    return Compared(outcome, record or {})


def comparison_command(comparison: Comparison, listener: Listener) -> Command:
    """Return a comparison as the engine sees it; see `run_comparison`."""
    session = SimilaritySession(comparison, listener)
    return Command(
        root=comparison.basis.root,
        config=comparison.basis.config,
        folder=comparison.folder,
        job=session,
        tasks=list_tasks,
        num_tasks=0,  # told when it is known whether there is anything to do
        write=write_nothing,
        notes=comparison.notes,
        places=cost_of_cases(comparison.basis),
        judge=lambda outcome: Compared(outcome).exit_code,
        forget=lambda: _forget(session),
    )


def list_tasks(desk: Desk) -> Iterator[Task]:
    """Yield a task per case, and that of the results; for a finished comparison only the latter."""
    session: SimilaritySession = desk.job
    yield from list_missing(desk, session.comparison.basis, _results(session), _all_tasks)


def list_anew(desk: Desk) -> Iterator[Task]:
    """Yield all tasks, with nothing left of an earlier run."""
    session: SimilaritySession = desk.job

    def cleared(desk: Desk) -> Iterator[Task]:
        _forget(session)
        yield from _all_tasks(desk)

    yield from list_parts(desk, session.comparison.basis, _results(session), cleared)


def _all_tasks(desk: Desk) -> Iterator[Task]:
    session: SimilaritySession = desk.job
    tasks = _cases(session)
    desk.listener.expect(len(tasks) + 1)
    yield from tasks
    yield _results(session, *(task.name for task in tasks))


def _forget(session: SimilaritySession) -> None:
    clear(session)
    (session.comparison.folder / RECORD).unlink(missing_ok=True)


def _cases(session: SimilaritySession) -> list[Task]:
    return [
        Task(
            name=f"{case.name} / {STAGE}",
            kind=SAMPLE,
            key=session.sample_prints[number],
            record=session.sample_file(number),
            data={"case": number},
            place=case.name,
        )
        for number, case in enumerate(session.comparison.cases)
    ]


def _results(session: SimilaritySession, *needs: str) -> Task:
    key, fault = None, None
    try:
        key = session.fingerprint
    except EsegetaError as error:
        fault = Fault(str(error))
    folder = session.comparison.folder
    return Task(
        name="results",
        kind=RESULTS,
        key=key,
        record=folder / RECORD,
        files=(folder / PAIRS,),
        needs=needs,
        fault=fault,
    )


SAMPLE = Kind(sample_case, memory_hint=MEMORY_HINT)
RESULTS = Kind(write_results, recall=recall_nothing, holds=("networks",), memory_hint=MEMORY_HINT)
