"""The engine of one of several processes: it does the tasks of its own places, and no others."""

from __future__ import annotations

from collections.abc import Sequence

from esegeta.stop import Stopped
from esegeta.workflow.cache import finished
from esegeta.workflow.engine import Command, Engine, Outcome, Policy, Queue
from esegeta.workflow.spread.own_journal import MOST_DEATHS, OwnJournal
from esegeta.workflow.task import Desk, Fault, Listener, Task


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
        self.is_stuck = False

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

    def _num_tasks(self) -> int:
        return self._own_journal.num_tasks

    def _close(self) -> None:
        """Leave figures over everything to whoever gathers."""

    def _write(self, state: str) -> None:
        """Leave tables to whoever gathers."""

    def _run_batch(self, batch: Sequence[Task], queue: Queue) -> None:
        own = [task for task in batch if task.place and self._desk.wants(task.place)]
        for task in batch:
            if not task.place and task.is_step:
                self._pass(task, queue)
            elif task not in own:
                self._of_others[task.name] = task
        if own:
            super()._run_batch(own, queue)

    def _pass(self, task: Task, queue: Queue) -> None:
        """Go on behind a step that stands on all places, or stop before it."""
        lacks = any(name in self._faults for name in task.needs) or any(
            finished(self._of_others[name]) is None
            for name in task.needs
            if name in self._of_others
        )
        known = None if task.record is None else finished(task)
        if task.fault or lacks or (task.record is not None and known is None):
            self.is_stuck = True
            return
        self._follow(task, known or {}, queue)

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


def _killer(deaths: int) -> Fault:
    return Fault(
        f"it killed the process that worked on it {deaths} times, and is not tried again; look "
        "into the log; lower inference.batch_size or ask for more memory, remove .cluster in the "
        "output folder and run again"
    )
