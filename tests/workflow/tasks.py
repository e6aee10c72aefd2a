"""Small tasks that write a number, and whoever listens to them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from esegeta.errors import EsegetaError
from esegeta.workflow.cache import keep_json
from esegeta.workflow.command import Command, CommandState
from esegeta.workflow.task import Content, Desk, Ended, Kind, Task


@dataclass
class Job:
    """What the tasks share: a list of what was done, and which of them fail."""

    done: list[str] = field(default_factory=list)
    prepared: list[list[str]] = field(default_factory=list)
    failing: Mapping[str, BaseException] = field(default_factory=dict)


def write_number(task: Task, desk: Desk) -> Content:
    error = desk.job.failing.get(task.name)
    if error is not None:
        raise error
    desk.job.done.append(task.name)
    content = {"number": task.data["number"], "large": "x" * 100}
    assert task.record is not None and task.key is not None
    keep_json(task.record, task.key, content)
    return content


def pick_number(content: Content) -> Content:
    return {"number": content["number"]}


def remove_record(task: Task, desk: Desk) -> None:
    assert task.record is not None
    task.record.unlink(missing_ok=True)


def note_batch(tasks: Sequence[Task], desk: Desk) -> None:
    desk.job.prepared.append([task.name for task in tasks])
    for task in tasks:
        error = desk.job.failing.get(f"prepare {task.name}")
        if error is not None:
            raise error


NUMBER = Kind(write_number, recall=pick_number, discard=remove_record, prepare=note_batch)


def number_task(root: Path, number: int, **changes: Any) -> Task:
    task = Task(
        name=f"number {number}",
        kind=NUMBER,
        key=f"key {number}",
        record=root / f"{number}.json",
        data={"number": number},
        order=(number,),
    )
    return replace(task, **changes)


@dataclass
class Tables:
    """What was written, and how often."""

    written: list[tuple[str, list[Any], list[str]]] = field(default_factory=list)
    rows: int = 0

    def write(self, ended: Sequence[Ended], state: CommandState, notes: Sequence[str]) -> None:
        self.rows += len(ended)
        numbers = [one.content.get("number") for one in ended]
        self.written.append((state.word, numbers, list(notes)))


def command(root: Path, tasks: Sequence[Task], job: Job, tables: Tables) -> Command:
    return Command(
        root=root,
        folder=root,
        job=job,
        tasks=lambda desk: tasks,
        num_tasks=len(tasks),
        write=tables.write,
    )


def user_error() -> EsegetaError:
    return EsegetaError("it is wrong", hint="mend it")


def journal_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a command's journal."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
