"""The engine: it, and nothing else, orders tasks, skips, isolates failures, stops and records.

A command is a list of tasks. Each is skipped where its record is there and of its key, fails with
those that it needs, and else is done; how it ended goes to the journal, to the listener and, now
and then, to the command's tables.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from esegeta.errors import DiskFullError, OutputError, is_out_of_memory
from esegeta.stop import Stopped, signals_held, stopped_by_signals
from esegeta.volume import noting_written, sweep
from esegeta.workflow.cache import finished
from esegeta.workflow.command import (
    RUNNING,
    STOPPED,
    Command,
    CommandState,
    Outcome,
    Policy,
)
from esegeta.workflow.journal import Journal, Pace
from esegeta.workflow.lock import locked
from esegeta.workflow.memory import release_unused
from esegeta.workflow.task import Content, Desk, Ended, Fault, Listener, Silence, Task, fault_of

FIRST_FAILURE = "stopped at the first failure"


class _FirstFailureError(Exception):
    """The first failure under `fail_fast`."""


def run_command(
    command: Command, listener: Listener | None = None, policy: Policy | None = None
) -> Outcome:
    """Do all tasks of a command that are not finished, and write its tables and its record.

    Raises:
        OutputError: another process holds the output folder, it belongs to a different
            experiment, or it cannot be written.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    listener, policy = listener or Silence(), policy or Policy()
    with stopped_by_signals(), locked(command.root):
        command.claim(policy)
        sweep(command.root)
        with Journal(command.folder / command.journal) as journal:
            return Engine(command, listener, policy, journal).run()


class Engine:
    """A command while it runs; where others share the work, what is done differently is overridden.

    Args:
        command: what is done.
        listener: is told how it goes on.
        policy: on what is there and what fails.
        journal: where it is recorded how tasks ended.
        places: those whose tasks are done here; all without it.
    """

    def __init__(
        self,
        command: Command,
        listener: Listener,
        policy: Policy,
        journal: Journal,
        places: frozenset[str] | None = None,
    ) -> None:
        self._command = command
        self._policy = policy
        self._journal = journal
        self._desk = Desk(command.job, listener, places=places, check=policy.check)
        self._pace = Pace()
        self._faults: dict[str, Fault] = {}
        self._has_failed_fast = False

    def run(self) -> Outcome:
        """Do all that is to be done, and record it."""
        start = time.perf_counter()
        self._desk.note(*self._command.notes)
        self._write(RUNNING)
        self._desk.listener.expect(self._num_tasks())
        queue = Queue(iter(self._command.tasks(self._desk)))
        try:
            with self._desk.noting_readings():
                while batch := queue.next_batch():
                    self._run_batch(batch, queue)
        except _FirstFailureError:
            self._desk.note(FIRST_FAILURE)
            self._has_failed_fast = True
        except DiskFullError as error:
            return self._cut_short(error, start)
        except Stopped:
            self._write(STOPPED)
            raise
        with signals_held():
            self._close()
            outcome = Outcome(self._journal.results(), time.perf_counter() - start)
            self._write(self._state(outcome))
        return outcome

    def _cut_short(self, error: DiskFullError, start: float) -> Outcome:
        """End where nothing more can be written: what comes would be computed for nothing.

        Raises:
            DiskFullError: the error, where no task failed of it.
        """
        self._journal.release_reserve()
        self._desk.note("stopped: there is no space left")
        with signals_held(), suppress(OutputError):
            self._write(STOPPED)
        outcome = Outcome(self._journal.results(), time.perf_counter() - start)
        if not outcome.failures:
            error.num_finished = len(outcome.results)
            raise error
        return outcome

    def _num_tasks(self) -> int:
        return self._command.num_tasks

    def _close(self) -> None:
        self._command.close(self._journal.results(), self._desk)

    def _state(self, outcome: Outcome) -> CommandState:
        return CommandState(outcome.state, has_ended=not self._has_failed_fast)

    def _run_batch(self, batch: Sequence[Task], queue: Queue) -> None:
        unfinished = []
        for task in batch:
            fault = self._fault_before(task)
            known = None if fault or self._is_redone(task) else self._finished(task)
            if fault is not None:
                self._fail(task, fault, 0.0, queue)
            elif known is not None:
                self._recall(task, known, queue)
            else:
                unfinished.append(task)
        if not unfinished:
            return
        self._desk.enter(unfinished[0].scope)
        self._do_batch(unfinished, queue)

    def _do_batch(self, tasks: Sequence[Task], queue: Queue) -> None:
        self._journal.begin(tasks)
        seconds, fault = self._prepare(tasks)
        for task in tasks:
            if fault is not None:
                self._fail(task, fault, seconds, queue)
            else:
                self._do(task, seconds, queue)

    def _is_redone(self, task: Task) -> bool:
        return self._policy.overwrite

    def _finished(self, task: Task) -> Content | None:
        return finished(task, self._policy.check)

    def _fault_before(self, task: Task) -> Fault | None:
        """Return why a task cannot be done: known beforehand, or the failure of one it needs."""
        failed = (self._faults[name] for name in task.needs if name in self._faults)
        return task.fault or next(failed, None)

    def _prepare(self, tasks: Sequence[Task]) -> tuple[float, Fault | None]:
        """Do what the tasks of a batch share; return each one's share of the time, and a fault."""
        kind, start = tasks[0].kind, time.perf_counter()
        if kind.prepare is None:
            return 0.0, None
        fault = None
        try:
            self._share(tasks)
        except Exception as error:  # one task's failure, whatever it is, does not stop the others
            fault = fault_of(error, memory_hint=kind.memory_hint)
        return (time.perf_counter() - start) / len(tasks), fault

    def _share(self, tasks: Sequence[Task]) -> None:
        prepare = tasks[0].kind.prepare
        if prepare is None:
            return
        try:
            prepare(tasks, self._desk)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            release_unused()  # each task tries by itself

    def _recall(self, task: Task, known: Content, queue: Queue) -> None:
        """Skip a finished task, after its record was brought up to date."""
        try:
            content = known if task.kind.renew is None else task.kind.renew(task, known, self._desk)
        except Exception as error:  # as below
            self._fail(task, fault_of(error, memory_hint=task.kind.memory_hint), 0.0, queue)
            return
        self._succeed(self._known(task), content, queue)

    def _known(self, task: Task) -> Ended:
        """Return how a task ended that is found finished."""
        return Ended(task, "skipped")

    def _do(self, task: Task, seconds: float, queue: Queue) -> None:
        start = time.perf_counter() - seconds
        try:
            content = self._work(task)
        except Exception as error:  # as above
            fault = fault_of(error, memory_hint=task.kind.memory_hint)
            self._fail(task, fault, time.perf_counter() - start, queue)
            if isinstance(error, DiskFullError):
                raise
            return
        took = time.perf_counter() - start
        self._succeed(Ended(task, "done", seconds=took), content, queue)

    def _work(self, task: Task) -> Content:
        """Do a task; where memory runs out, it and all that follow take half the batch."""
        while True:
            try:
                with noting_written():
                    return task.kind.do(task, self._desk)
            except Exception as error:
                job = self._desk.job
                smaller = self._command.smaller(job) if is_out_of_memory(error) else None
                if smaller is None:
                    raise
            # Outside of `except`: the error holds what was in use when memory ran out.
            self._desk = self._desk.with_job(smaller)
            release_unused()
            self._say(f"{task.name}: out of memory; continuing with half the batch size")

    def _say(self, text: str) -> None:
        """Note what has happened to the work as a whole."""
        self._desk.note(text)

    def _succeed(self, ended: Ended, content: Content, queue: Queue) -> None:
        task = ended.task
        warnings = tuple(content.get("warnings", ()))
        verdicts = tuple(content.get("chance_warnings", ()))
        recalled = task.kind.recall(content)
        self._end(replace(ended, warnings=warnings, verdicts=verdicts, content=recalled))
        self._follow(task, content, queue)

    def _follow(self, task: Task, content: Content | None, queue: Queue) -> None:
        if task.kind.follow is not None:
            queue.put_first(task.kind.follow(task, content, self._desk))

    def _fail(self, task: Task, fault: Fault, seconds: float, queue: Queue) -> None:
        if task.kind.discard is not None and task.key is not None and finished(task) is None:
            task.kind.discard(task, self._desk)  # it would look like a result of this run
        self._faults[task.name] = fault
        self._end(Ended(task, "failed", seconds=seconds, fault=fault))
        if task.is_step:
            self._follow(task, None, queue)
        if self._policy.fail_fast and not task.is_step:  # those that need a step fail next
            raise _FirstFailureError

    def _end(self, ended: Ended) -> None:
        with signals_held():
            self._journal.append(ended)
            if ended.task.is_step:
                return
            self._desk.listener.end(ended)
            if self._pace.is_due():
                self._write(RUNNING)

    def _write(self, state: CommandState) -> None:
        results = self._journal.results()
        self._command.take_steps(self._journal.steps())
        self._pace.write(lambda: self._command.write(results, state, self._desk.notes))


class Queue:
    """Tasks that are still to come: those that finished ones have told of, then the listed ones."""

    def __init__(self, listed: Iterator[Task]) -> None:
        self._first: deque[Task] = deque()
        self._listed = listed

    def put_first(self, tasks: Iterable[Task]) -> None:
        """Let tasks come next, in their order."""
        self._first.extendleft(reversed(list(tasks)))

    def next_batch(self) -> list[Task]:
        """Return the next task and those behind it of the same batch; nothing at the end."""
        batch: list[Task] = []
        while (task := self._pop()) is not None:
            if batch and not (task.batch and task.batch == batch[0].batch):
                self._first.appendleft(task)
                break
            batch.append(task)
        return batch

    def _pop(self) -> Task | None:
        return self._first.popleft() if self._first else next(self._listed, None)
