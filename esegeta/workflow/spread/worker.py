"""The engine of one of several processes: it does the tasks of its own places, and no others."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Sequence
from contextlib import suppress

from esegeta.errors import DISK_FULL, FREE_SPACE, DiskFullError, OutputError, system_error
from esegeta.stop import Stopped
from esegeta.workflow.cache import finished
from esegeta.workflow.command import Command, CommandState, Outcome, Policy
from esegeta.workflow.engine import Engine, Queue
from esegeta.workflow.spread.own_journal import MOST_DEATHS, OwnJournal
from esegeta.workflow.task import Content, Desk, Fault, Listener, Task

NO_ROOM = (*DISK_FULL, errno.EFBIG)
"""A disk is full, a quota is reached, or a file may not grow further."""


class PlaceEngine(Engine):
    """Does the tasks of some places; tables and record are for whoever gathers what all have done.

    What stands on all places is left to the gathering process: where it is not done yet, this one
    has come to its end.

    Args:
        command: what is done.
        listener: is told how it goes on.
        policy: on what is there and what fails.
        journal: its own.
        places: its own.
        desk: of an engine of the same command before, with what tasks share still on it.
    """

    def __init__(
        self,
        command: Command,
        listener: Listener,
        policy: Policy,
        journal: OwnJournal,
        places: frozenset[str],
        desk: Desk | None = None,
    ) -> None:
        super().__init__(command, listener, policy, journal, places)
        if desk is not None:
            desk.places = places
            self._desk = desk
        self._own_journal = journal
        self._of_others: dict[str, Task] = {}
        self._full: DiskFullError | None = None
        self.is_stuck = False

    @property
    def desk(self) -> Desk:
        """Where its tasks found what they need: for the next engine of the same command."""
        return self._desk

    def run(self) -> Outcome:
        """Do what is its own; what it lets go on a signal is noted to be innocent."""
        try:
            outcome = super().run()
        except Stopped:
            self._own_journal.drop()
            self._own_journal.finish("stopped")
            raise
        self._own_journal.finish("waiting" if self.is_stuck else outcome.state)
        return outcome

    def _cut_short(self, error: DiskFullError, start: float) -> Outcome:
        """End without a fault of any task: another process may have room."""
        with suppress(OutputError):  # its journal may lie there too
            self._own_journal.drop()
            self._own_journal.finish("disk full")
        raise error

    def _num_tasks(self) -> int:
        return self._own_journal.num_tasks

    def _close(self) -> None:
        """Leave figures over everything to whoever gathers."""

    def _write(self, state: CommandState) -> None:
        """Leave tables to whoever gathers."""

    def _run_batch(self, batch: Sequence[Task], queue: Queue) -> None:
        own = []
        for task in batch:
            if not task.place and task.is_step:
                self._pass(task, queue)
            elif not self._desk.wants(task.place) or not task.place:
                self._of_others[task.name] = task
            elif self._waits(task):
                self._of_others[task.name] = task
                self.is_stuck = True
            else:
                own.append(task)
        if own:
            super()._run_batch(own, queue)

    def _is_redone(self, task: Task) -> bool:
        return super()._is_redone(task) and task.name not in self._own_journal.done

    def _waits(self, task: Task) -> bool:
        """Tell whether something that a task needs is to be done by others, and is not yet."""
        others = [self._of_others[name] for name in task.needs if name in self._of_others]
        return any(finished(other) is None for other in others)

    def _pass(self, task: Task, queue: Queue) -> None:
        """Go on behind a step that stands on all places, or stop before it.

        Its record says that it was done; what it stands on is not looked at one by one.
        """
        known = None if task.fault else finished(task)
        if known is None:
            self.is_stuck = True
            return
        self._follow(task, known, queue)

    def _do_batch(self, tasks: Sequence[Task], queue: Queue) -> None:
        deaths = self._own_journal.deaths
        doomed = [task for task in tasks if deaths.get(task.name, 0) >= MOST_DEATHS]
        for task in doomed:
            self._fail(task, _killer(deaths[task.name]), 0.0, queue)
        rest = [task for task in tasks if task not in doomed]
        # Suspects are prepared one by one: else it is not known which of a batch kills.
        together = [task for task in rest if not deaths.get(task.name)]
        for batch in (together, *([task] for task in rest if task not in together)):
            if batch:
                super()._do_batch(batch, queue)

    def _fail(self, task: Task, fault: Fault, seconds: float, queue: Queue) -> None:
        if self._full is not None:
            raise self._full
        super()._fail(task, fault, seconds, queue)

    def _say(self, text: str) -> None:
        super()._say(text)
        self._own_journal.say(text)

    def _share(self, tasks: Sequence[Task]) -> None:
        try:
            super()._share(tasks)
        except Exception as error:
            self._full = full_disk(error)
            raise

    def _work(self, task: Task) -> Content:
        try:
            return super()._work(task)
        except Exception as error:
            self._full = full_disk(error)
            raise


def full_disk(error: BaseException | None) -> DiskFullError | None:
    """Return what to say where an error, or what caused it, is a disk that takes no more."""
    while error is not None:
        told = system_error(error)
        if told is not None and told.errno in NO_ROOM:
            said = f"{platform.node()}: cannot write any more ({os.strerror(told.errno)})"
            return DiskFullError(said, hint=FREE_SPACE)
        error = error.__cause__
    return None


def _killer(deaths: int) -> Fault:
    return Fault(
        f"the process that worked on it died {deaths} times, so it is not tried again; see the "
        "log; lower inference.batch_size or ask for more memory, remove .cluster in the output "
        "folder and run again"
    )
