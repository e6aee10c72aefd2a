"""What all processes have done comes together: tables and record of the whole command.

Nothing is done again, and nothing that is still to come is done here, but for what stands on all
places: that has one writer, and this is it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from esegeta.plain_json import json_sha256
from esegeta.report.contents import Check
from esegeta.report.shapes import misfit
from esegeta.stop import stopped_by_signals
from esegeta.volume import output_faults, sweep, write_text
from esegeta.workflow.cache import finished
from esegeta.workflow.command import Command, CommandState, Outcome, Policy
from esegeta.workflow.engine import Engine, Queue
from esegeta.workflow.journal import Journal
from esegeta.workflow.lock import GATHERING, living, shared
from esegeta.workflow.spread.ended_lines import EndedLines
from esegeta.workflow.spread.folder import SharedFolder, told_in
from esegeta.workflow.spread.own_journal import JournalLine, ended_from, head_of, lines_of
from esegeta.workflow.task import Ended, Listener, Silence, Task


@dataclass(frozen=True)
class Gathered:
    """What has come together.

    Args:
        outcome: of the tasks that have ended.
        waiting: names of tasks that have not, as far as they are known.
        places: where these belong.
        num_to_come: how many of them are no steps.
        judged: exit code of the outcome, as the command tells it.
    """

    outcome: Outcome
    waiting: tuple[str, ...] = ()
    places: frozenset[str] = field(default_factory=frozenset)
    num_to_come: int = 0
    judged: int = 0

    @property
    def exit_code(self) -> int:
        """That of the outcome; 1 where something is still to come."""
        return self.judged or int(bool(self.waiting))


class GatheringEngine(Engine):
    """Takes in how tasks of places ended, from journals or records; does what stands on all.

    Args:
        command: what was done.
        listener: is told how it goes on.
        journal: of the whole command.
        lines: how tasks ended by the journals of all processes.
        state: what the command's record says at the end; as things stand without it.
        check: how finished tasks are checked against their files; None believes the journals.
        notes: what processes said.
    """

    def __init__(
        self,
        command: Command,
        listener: Listener,
        journal: Journal,
        lines: EndedLines,
        state: CommandState | None = None,
        check: Check | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(command, listener, Policy(check=check or "quick"), journal)
        self._desk.note(*notes)
        self._lines = lines
        self._ends_as = state
        self._check = check
        self.waiting: dict[str, str] = {}
        self.num_to_come = 0

    def _state(self, outcome: Outcome) -> CommandState:
        if self._ends_as is not None:
            return self._ends_as
        return CommandState("incomplete") if self.waiting else super()._state(outcome)

    def _run_batch(self, batch: Sequence[Task], queue: Queue) -> None:
        for task in batch:
            if task.place:
                self._take_in(task, queue)
            elif any(name in self.waiting for name in task.needs):
                self._wait_for(task)
            else:
                super()._run_batch([task], queue)

    def _take_in(self, task: Task, queue: Queue) -> None:
        ended = self._fallen(task) or self._ended(task)
        if ended is not None:
            if ended.fault is not None:
                self._faults[task.name] = ended.fault
            self._end(ended)
            if task.is_step or ended.fault is None:
                self._follow(task, None if ended.fault else ended.content, queue)
        elif not (task.is_step and task.record is None and task.kind.follow is None):
            self._wait_for(task)

    def _known(self, task: Task) -> Ended:
        """Return how a task ended that gathering does itself, here or in a round before."""
        line = self._lines.of(task)
        if line is None or line["status"] == "failed":
            return super()._known(task)
        return Ended(task, line["status"], seconds=line["seconds"])

    def _wait_for(self, task: Task) -> None:
        self.waiting[task.name] = task.place
        self.num_to_come += not task.is_step

    def _fallen(self, task: Task) -> Ended | None:
        fault = self._fault_before(task)
        return None if fault is None else Ended(task, "failed", fault=fault)

    def _ended(self, task: Task) -> Ended | None:
        line = self._lines.of(task)
        if line is not None and misfit(line["content"], task.kind.told) is not None:
            line = None
        if line is not None and (line["status"] == "failed" or self._believes(task)):
            return ended_from(line, task)
        known = finished(task, self._check or "quick")
        if known is None:
            return None
        return Ended(
            task,
            "skipped",
            warnings=tuple(known.get("warnings", ())),
            verdicts=tuple(known.get("chance_warnings", ())),
            content=task.kind.recall(known),
        )

    def _believes(self, task: Task) -> bool:
        return task.record is None or (self._check is None and task.record.is_file())


def notes_in(folder: SharedFolder) -> list[str]:
    """Return what processes said for the record of the whole, and which of them."""
    found = []
    for path in folder.journals:
        who = ""
        for line in lines_of(path):
            who = line.get("process", who)
            if "note" in line:
                found.append(f"{who}: {line['note']}")
    return found


WHO = ("process", "host", "device", "gpu", "job", "pid", "started")
"""What the record of a command tells of a process."""


def keep_processes(folder: SharedFolder) -> list[dict[str, Any]]:
    """Return who has worked on a command, now or before; journals of the past are gone."""
    known = {_line_of(line): line for line in lines_of(folder.processes)}
    for journal in folder.journals:
        head = head_of(journal)
        if head is not None:
            known.setdefault(_line_of(_who(head)), _who(head))
    if known:
        write_text(folder.processes, "".join(f"{line}\n" for line in known))
    return list(known.values())


def keep_process(folder: SharedFolder, head: JournalLine) -> None:
    """Note who has worked on a command, by the first line of a journal that is to be replaced.

    Nothing is rewritten: other parts may be noting something at the same time.
    """
    if head:
        with output_faults(folder.processes), folder.processes.open("a", encoding="utf-8") as file:
            file.write(f"{_line_of(_who(head))}\n")


def _who(head: JournalLine) -> dict[str, Any]:
    return {name: head.get(name, "") for name in WHO}


def _line_of(who: Mapping[str, Any]) -> str:
    return json.dumps(who, sort_keys=True)


def processes_of(folder: SharedFolder) -> set[tuple[str, int]]:
    """Return host and number of every process that has worked on a command."""
    return {(str(one["host"]), int(one["pid"])) for one in keep_processes(folder) if one["pid"]}


def gather(
    command: Command,
    folder: SharedFolder,
    listener: Listener | None = None,
    take: Callable[[JournalLine], JournalLine | None] = lambda line: line,
) -> Gathered:
    """Write tables and record of a command from what its processes have left so far.

    Parts may be at work meanwhile: none of them writes tables. Where none is, temporary files of
    those that were killed are removed.

    Raises:
        OutputError: another process gathers or runs the whole command, or the output folder
            cannot be written.
    """
    with stopped_by_signals(), shared(command.root, GATHERING, ""):
        gathered = gather_held(command, folder, listener or Silence(), take)
        _sweep_after(folder)
        return gathered


def _sweep_after(folder: SharedFolder) -> None:
    """Remove what killed processes were writing, where nobody else is at work on the folder."""
    # In this order: whoever starts in between is not among those that are taken for dead.
    ended = processes_of(folder)
    if all(path.name == GATHERING for path in living(folder.root)):
        sweep(folder.root, ended)


def gather_held(
    command: Command,
    folder: SharedFolder,
    listener: Listener,
    take: Callable[[JournalLine], JournalLine | None] = lambda line: line,
    *,
    state: CommandState | None = None,
    check: Check | None = None,
) -> Gathered:
    """Gather in a folder that this process holds; see `gather`.

    Args:
        command: what was done.
        folder: of the processes that did it.
        listener: is told of what has ended.
        take: returns what counts of a line of their journals, or None.
        state: what the command's record is to say.
        check: how finished tasks are checked against their files; None believes the journals.
    """
    command.take_processes(keep_processes(folder))
    lines = EndedLines(folder, command.folder / command.journal, take)
    with Journal(command.folder / command.journal) as journal:
        notes = notes_in(folder)
        engine = GatheringEngine(command, listener, journal, lines, state, check, notes)
        outcome = engine.run()
    if folder.origin.is_file():
        write_text(folder.gathered, json_sha256(told_in(folder.origin)))
    places = frozenset(place for place in engine.waiting.values() if place)
    waiting = tuple(engine.waiting)
    return Gathered(outcome, waiting, places, engine.num_to_come, command.judge(outcome))
