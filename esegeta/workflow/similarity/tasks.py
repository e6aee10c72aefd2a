"""`esegeta similarity` as a list of tasks: one per case, and one that puts their sums together."""

from __future__ import annotations

from collections.abc import Iterator

from esegeta.workflow.command import Command, Policy
from esegeta.workflow.one_result import (
    OneResult,
    ResultPlan,
    last_task,
    recall_nothing,
    result_command,
    run_result,
)
from esegeta.workflow.similarity.build import Comparison
from esegeta.workflow.similarity.results import PAIRS, RECORD, write_results
from esegeta.workflow.similarity.sample import sample_case
from esegeta.workflow.similarity.session import MEMORY_HINT, SimilaritySession
from esegeta.workflow.task import Desk, Kind, Listener, Silence, Task

STAGE = "similarity"


def run_comparison(
    comparison: Comparison, listener: Listener | None = None, policy: Policy | None = None
) -> OneResult:
    """Compare, and write tables, figures and, last of all, similarity.json.

    What an earlier run of the same comparison has finished is not done again.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM; cases that are done are kept.
    """
    listener = listener or Silence()
    return run_result(_plan(comparison, listener), listener, policy)


def comparison_command(comparison: Comparison, listener: Listener) -> Command:
    """Return a comparison as the engine sees it; see `run_comparison`."""
    return result_command(_plan(comparison, listener))


def _plan(comparison: Comparison, listener: Listener) -> ResultPlan:
    session = SimilaritySession(comparison, listener)
    return ResultPlan(
        basis=comparison.basis,
        job=session,
        record=comparison.folder / RECORD,
        within=comparison.folder,
        work=session.folder,
        whole=_results,
        parts=all_tasks,
        notes=comparison.notes,
    )


def all_tasks(desk: Desk) -> Iterator[Task]:
    """Yield a task per case, and that of the results."""
    session: SimilaritySession = desk.job
    tasks = _cases(session)
    desk.listener.expect(len(tasks) + 1)
    yield from tasks
    yield _results(session, *(task.name for task in tasks))


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
    folder = session.comparison.folder
    return last_task(
        "results",
        RESULTS,
        folder / RECORD,
        lambda: session.fingerprint,
        needs=needs,
        files=(folder / PAIRS,),
    )


SAMPLE = Kind(sample_case, memory_hint=MEMORY_HINT)
RESULTS = Kind(write_results, recall=recall_nothing, holds=("networks",), memory_hint=MEMORY_HINT)
