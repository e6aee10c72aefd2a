"""Commands whose tasks make one result: a part of them is of no use by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.report import read_sidecar, write_dataset_files
from esegeta.report.shapes import NotesTold, read_told
from esegeta.workflow.build import Basis
from esegeta.workflow.cache import FILES, finished
from esegeta.workflow.command import (
    EXIT_OK,
    EXIT_SOME_FAILED,
    EXIT_USER,
    Command,
    CommandState,
    Outcome,
    Policy,
)
from esegeta.workflow.engine import run_command
from esegeta.workflow.placing import cost_of_cases
from esegeta.workflow.task import Content, Desk, Ended, Fault, Kind, Listener, Task


@dataclass(frozen=True)
class OneResult:
    """How a command ended whose tasks make one result.

    Args:
        outcome: outcome of its tasks, that of the result last.
        record: content of the record that is written last; empty where it did not come to its end.
    """

    outcome: Outcome
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def skipped(self) -> bool:
        """Whether it was finished before and nothing was done."""
        return not self.outcome.num_of("done") and not self.outcome.failures

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.outcome.seconds

    @property
    def exit_code(self) -> int:
        """0 when it is finished; 2 when what the user gave kept it from that; else 1."""
        failures = self.outcome.failures
        if not failures:
            return EXIT_OK
        return EXIT_SOME_FAILED if any(ended.is_bug for ended in failures) else EXIT_USER


@dataclass(frozen=True, kw_only=True)
class ResultPlan:
    """What a command of one result works on, and what leads to the result.

    Args:
        basis: of the experiment.
        job: what its tasks share.
        record: file that is written last.
        within: folder in which all files of the result lie.
        work: folder of what is kept to go on with, until the result is there.
        whole: makes the task that writes the record, of the job; called when tasks are listed,
            since its key takes reading files.
        parts: lists the tasks that are known beforehand, and tells the listener how many to expect.
        notes: what the user should know before it starts.
    """

    basis: Basis
    job: Any
    record: Path
    within: Path
    work: Path
    whole: Callable[[Any], Task]
    parts: Callable[[Desk], Iterable[Task]]
    notes: tuple[str, ...]

    def list_tasks(self, desk: Desk) -> Iterator[Task]:
        """Yield the tasks that are known beforehand; of a finished result, only its own."""
        yield from list_missing(desk, self.basis, self.whole(desk.job), self.parts)

    def list_anew(self, desk: Desk) -> Iterator[Task]:
        """Yield the tasks that are known beforehand, with nothing kept of an earlier run.

        An earlier result stays until it is replaced.
        """

        def cleared(desk: Desk) -> Iterator[Task]:
            clear(self.work)
            yield from self.parts(desk)

        yield from list_parts(desk, self.basis, self.whole(desk.job), cleared)

    def forget(self) -> None:
        """Remove what an earlier run has left, its result too."""
        discard(self.record, self.within)
        clear(self.work)


def result_command(plan: ResultPlan) -> Command:
    """Return a command of one result as the engine sees it."""
    return Command(
        root=plan.basis.root,
        config=plan.basis.config,
        folder=plan.record.parent,
        job=plan.job,
        tasks=plan.list_tasks,
        num_tasks=0,  # told when it is known whether there is anything to do
        write=write_nothing,
        notes=plan.notes,
        places=cost_of_cases(plan.basis),
        judge=lambda outcome: OneResult(outcome).exit_code,
        forget=plan.forget,
    )


def run_result(plan: ResultPlan, listener: Listener, policy: Policy | None = None) -> OneResult:
    """Do what leads to a result, and return how that ended.

    Raises:
        OutputError: another process holds the output folder, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM; what is done is kept.
    """
    policy = policy or Policy()
    command = result_command(plan)
    if policy.overwrite:
        command = replace(command, tasks=plan.list_anew)
    outcome = run_command(command, listener, policy)
    return OneResult(outcome, {} if outcome.failures else read_sidecar(plan.record) or {})


def list_missing(
    desk: Desk, basis: Basis, whole: Task, parts: Callable[[Desk], Iterable[Task]]
) -> Iterator[Task]:
    """Yield what leads to a result; where it is there, only its own task.

    Args:
        desk: what tasks of the command share.
        basis: of the experiment.
        whole: task that ends with the result.
        parts: lists the tasks that are known beforehand, and tells the listener how many to expect.
    """
    is_there = finished(whole, desk.check) is not None
    yield from list_parts(desk, basis, whole, _alone(whole) if is_there else parts)


def list_parts(
    desk: Desk, basis: Basis, whole: Task, parts: Callable[[Desk], Iterable[Task]]
) -> Iterator[Task]:
    """Yield what leads to a result, whether it is there or not; see `list_missing`.

    Where it is known beforehand that there will be none, only the task that says why.
    """
    write_dataset_files(basis.root, basis.config.keys.name)
    yield from (parts if whole.fault is None else _alone(whole))(desk)


def _alone(whole: Task) -> Callable[[Desk], Iterable[Task]]:
    def parts(desk: Desk) -> Iterator[Task]:
        desk.listener.expect(1)
        yield whole

    return parts


def last_task(
    name: str,
    kind: Kind,
    record: Path,
    find_key: Callable[[], str],
    *,
    needs: tuple[str, ...],
    files: tuple[Path, ...] = (),
) -> Task:
    """Return the task that ends with the result; one without a fingerprint says why.

    Args:
        name: its name.
        kind: its kind.
        record: file that it writes last.
        find_key: finds the fingerprint of everything that decides the result.
        needs: names of tasks without which there is no result.
        files: other files that must be there for the record to count.
    """
    key, fault = None, None
    try:
        key = find_key()
    except EsegetaError as error:
        fault = Fault(str(error))
    return Task(name=name, kind=kind, key=key, record=record, files=files, needs=needs, fault=fault)


@dataclass(eq=False)
class Written:
    """What tasks have written and found so far, for the record.

    Args:
        files: files, in the order in which they are listed.
        notes: notes for the reader.
        entries: further entries of the record.
    """

    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    entries: dict[str, Any] = field(default_factory=dict)


def written(desk: Desk) -> Written:
    """Return what tasks of the command have written so far."""
    return desk.once("written", Written, depth=0)


def discard(record: Path, within: Path) -> None:
    """Remove an earlier result, the record first: what it names would look like the new one.

    Args:
        record: its record.
        within: folder beyond which nothing is removed, whatever the record names.
    """
    names = (read_told(record, NotesTold) or {}).get(FILES) or []
    record.unlink(missing_ok=True)
    for name in names:
        path = (record.parent / str(name)).resolve()
        if path.is_relative_to(within.resolve()) and path.is_file():
            path.unlink()


def clear(work: Path) -> None:
    """Remove what was kept to go on with."""
    shutil.rmtree(work, ignore_errors=True)


def write_nothing(results: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
    """Leave tables to the tasks: before all cases are done there is nothing to tell."""


def recall_nothing(content: Content) -> Content:
    """Leave the content to the record."""
    return {}
