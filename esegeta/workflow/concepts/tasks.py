"""`esegeta concepts` as a list of tasks: cases are gathered and derived, then all is tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from esegeta.workflow.command import Command, Policy
from esegeta.workflow.concepts import maps, pictures
from esegeta.workflow.concepts.build import ConceptRun
from esegeta.workflow.concepts.derive import derive
from esegeta.workflow.concepts.gather import gather
from esegeta.workflow.concepts.results import RECORD, record_task, write_results
from esegeta.workflow.concepts.session import MEMORY_HINT, ConceptSession
from esegeta.workflow.one_result import OneResult, ResultPlan, result_command, run_result
from esegeta.workflow.task import Content, Desk, Kind, Listener, Silence, Task

STAGE = "concepts"


def _first_tasks(desk: Desk) -> Iterator[Task]:
    session: ConceptSession = desk.job
    run = session.run
    if (run.folder / RECORD).is_file():
        desk.note(f"the results in {run.folder} are replaced once the new ones are ready")
    desk.listener.expect(2 * len(session.cases) + 1)
    tasks = []
    for number in range(len(session.cases)):
        for what, kind in (("regions", GATHER), ("slopes", DERIVE)):
            record, key = session.record(what, number), session.record_print(what, number)
            task = _of_case(session, number, what, kind, record, key)
            tasks.append(task)
            yield replace(task, place=session.cases[number].name)
    yield _step("results", RESULTS, [task.name for task in tasks])


def _after_results(task: Task, content: Content | None, desk: Desk) -> list[Task]:
    session: ConceptSession = desk.job
    if content is None:
        return [record_task(session, task.name)]
    rows, examples = maps.mapped_rows(desk), pictures.chosen_examples(desk)
    made = []
    for number in range(len(session.cases)):
        made += [_of_case(session, number, f"map {place + 1}", MAP, row=place) for place in rows]
        if number in examples.cases:
            made.append(_of_case(session, number, "examples", EXAMPLES))
    desk.listener.expect(len(made))
    shown = [one.name for one in made if one.kind is EXAMPLES]
    figures = _step("figures", FIGURES, shown)
    return [*made, figures, record_task(session, figures.name)]


def _of_case(
    session: ConceptSession,
    number: int,
    what: str,
    kind: Kind,
    record: Path | None = None,
    key: str | None = None,
    **data: int,
) -> Task:
    name = session.cases[number].name
    return Task(
        name=f"{name} / {STAGE} / {what}",
        kind=kind,
        key=key,
        record=record,
        data={"case": number, **data},
        scope=(name,),
    )


def _step(name: str, kind: Kind, needs: Iterable[str]) -> Task:
    return Task(name=name, kind=kind, key=None, needs=tuple(needs), is_step=True)


_kind = partial(Kind, memory_hint=MEMORY_HINT)
GATHER = _kind(gather)
DERIVE = _kind(derive)
RESULTS = _kind(write_results, follow=_after_results)
MAP = _kind(maps.map_concept)
EXAMPLES = _kind(pictures.show_case)
FIGURES = _kind(pictures.draw_examples)


def run_concepts(
    run: ConceptRun, listener: Listener | None = None, policy: Policy | None = None
) -> OneResult:
    """Test concepts, and write tables, vectors, maps, figures and, last of all, concepts.json.

    What an earlier run of the same has finished is not done again: all of it where the record is
    there and matches, else the cases that are kept.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM; what is done is kept.
    """
    listener = listener or Silence()
    return run_result(_plan(run, listener), listener, policy)


def concepts_command(run: ConceptRun, listener: Listener) -> Command:
    """Return the command as the engine sees it; see `run_concepts`."""
    return result_command(_plan(run, listener))


def _plan(run: ConceptRun, listener: Listener) -> ResultPlan:
    session = ConceptSession(run, listener)
    return ResultPlan(
        basis=run.basis,
        job=session,
        record=run.folder / RECORD,
        within=run.basis.root,  # maps lie with their cases
        work=session.folder,
        whole=record_task,
        parts=_first_tasks,
        notes=run.basis.notes,
    )
