"""What the engine is given, and what it gives back: a command, a policy, an outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from esegeta.config import RunConfig
from esegeta.report.contents import Check
from esegeta.workflow import journal as journals
from esegeta.workflow.lineage import claim
from esegeta.workflow.task import Desk, Ended, Status, Task

EXIT_OK, EXIT_SOME_FAILED, EXIT_USER = 0, 1, 2


@dataclass(frozen=True)
class CommandState:
    """How far a command has come when its tables are written.

    Args:
        word: what its record says: running, stopped, complete, incomplete or failed.
        has_ended: whether every task has ended; what is in the folder beside their results is then
            of an earlier config, and else may belong to tasks that are still to come.
    """

    word: str
    has_ended: bool = False


RUNNING, STOPPED = CommandState("running"), CommandState("stopped")


@dataclass(frozen=True)
class Policy:
    """How a command treats what is there and what fails.

    Args:
        overwrite: whether to do finished tasks again.
        fail_fast: whether to stop at the first failure.
        check: how the files of finished tasks are checked to be those that were written.
    """

    overwrite: bool = False
    fail_fast: bool = False
    check: Check = "quick"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command as the engine sees it.

    Args:
        root: output folder, held for this process while the command runs.
        folder: folder in it for the command's own results and its journal.
        job: data that all tasks share.
        tasks: lists them, each before those that need it; drawn as the work goes on.
        num_tasks: number of tasks without steps, as far as it is known beforehand.
        write: writes tables and record from how tasks ended, given the command's state and notes.
        close: comes after the last task and before the last writing; for figures over everything.
        notes: what the user should know before it starts.
        journal: name of its journal.
        take_steps: is told how steps ended, before each writing.
        take_processes: is told which processes have worked on it, before each writing.
        places: what the work is cut into where several processes do it, such as cases, with
            about what each costs; the tasks of one place stay together.
        pieces: by place, what it may be split into where it is more than one process's share,
            such as a case into its targets; a desk may be asked for these names too.
        smaller: the same job in less memory, or None where there is no smaller one.
        config: config to whose experiment the output folder belongs; None for nobody's.
        judge: tells the exit code from how it ended.
        forget: removes what an earlier run has left, of a command whose tasks make one result:
            several processes cannot do it again in the presence of the old one.
    """

    root: Path
    folder: Path
    job: Any
    tasks: Callable[[Desk], Iterable[Task]]
    num_tasks: int
    write: Callable[[Sequence[Ended], CommandState, Sequence[str]], None]
    close: Callable[[Sequence[Ended], Desk], None] = field(default=lambda ended, desk: None)
    notes: tuple[str, ...] = ()
    journal: str = journals.NAME
    take_steps: Callable[[Sequence[Ended]], None] = field(default=lambda ended: None)
    take_processes: Callable[[Sequence[Mapping[str, Any]]], None] = field(
        default=lambda processes: None
    )
    places: Mapping[str, float] = field(default_factory=dict)
    pieces: Mapping[str, Sequence[str]] = field(default_factory=dict)
    smaller: Callable[[Any], Any | None] = field(default=lambda job: None)
    judge: Callable[[Outcome], int] = field(default=lambda outcome: outcome.exit_code)
    forget: Callable[[], None] | None = None
    config: RunConfig | None = None

    def claim(self, policy: Policy) -> None:
        """Make sure that the output folder is this experiment's, and enter its config there.

        Raises:
            OutputError: it belongs to a different experiment, which the policy does not replace.
        """
        if self.config is not None:
            claim(self.root, self.config, anew=policy.overwrite)


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Args:
        results: results of its tasks, without steps, in the order of tables.
        seconds: wall-clock time.
    """

    results: Sequence[Ended]
    seconds: float = 0.0

    @property
    def failures(self) -> list[Ended]:
        """Tasks that failed."""
        return self._tally.failures

    @property
    def warned(self) -> Iterator[Ended]:
        """Tasks whose result carries a warning."""
        return (ended for ended in self.results if ended.warnings)

    @property
    def num_warned(self) -> int:
        """Number of these."""
        return self._tally.num_warned

    def num_of(self, status: Status) -> int:
        """Return how many tasks ended in some way."""
        return self._tally.statuses[status]

    @property
    def exit_code(self) -> int:
        """0 when all is well; 2 when what the user gave let no task succeed; else 1.

        A verdict on a result, such as that a random map does as well, is not a fault of the run.
        """
        if not self.failures:
            return EXIT_SOME_FAILED if self._tally.has_doubts else EXIT_OK
        none_succeeded = len(self.failures) == self._tally.statuses.total()
        if none_succeeded and not any(ended.is_bug for ended in self.failures):
            return EXIT_USER
        return EXIT_SOME_FAILED

    @property
    def state(self) -> str:
        """What the command's record says when it has come to its end."""
        if self.exit_code == EXIT_USER:
            return "failed"
        return "incomplete" if self.failures else "complete"

    @cached_property
    def _tally(self) -> _Tally:
        tally = _Tally()
        for ended in self.results:
            tally.take(ended)
        return tally


@dataclass(eq=False)
class _Tally:
    """What one walk over all results tells, of which there may be hundreds of thousands."""

    statuses: Counter[Status] = field(default_factory=Counter)
    failures: list[Ended] = field(default_factory=list)
    num_warned: int = 0
    has_doubts: bool = False

    def take(self, ended: Ended) -> None:
        self.statuses[ended.status] += 1
        self.num_warned += bool(ended.warnings)
        self.has_doubts = self.has_doubts or bool(set(ended.warnings) - set(ended.verdicts))
        if ended.status == "failed":
            self.failures.append(ended)
