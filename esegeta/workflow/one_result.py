"""Commands whose tasks make one result: a part of them is of no use by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from esegeta.report import write_dataset_files
from esegeta.workflow.build import Basis
from esegeta.workflow.cache import finished
from esegeta.workflow.command import EXIT_OK, EXIT_SOME_FAILED, EXIT_USER, Outcome
from esegeta.workflow.task import Content, Desk, Ended, Task


@dataclass(frozen=True)
class OneResult:
    """How a command ended whose tasks make one result.

    Args:
        outcome: outcome of its tasks, that of the result last.
    """

    outcome: Outcome

    @property
    def skipped(self) -> bool:
        """Whether it was finished before and nothing was done."""
        return all(ended.status == "skipped" for ended in self.outcome.results)

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


def write_nothing(results: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
    """Leave tables to the tasks: before all cases are done there is nothing to tell."""


def recall_nothing(content: Content) -> Content:
    """Leave the content to the record."""
    return {}
