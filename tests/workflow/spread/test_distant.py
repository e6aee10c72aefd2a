"""What a worker of a cluster keeps from place to place."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from esegeta.workflow.command import Policy
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.task import Content, Desk, Kind, Silence, Task
from tests.workflow.tasks import Job, Tables, command, number_task

pytest.importorskip("distributed")

from esegeta.workflow.spread import distant
from esegeta.workflow.spread.origin import Origin

RUN = "run-of-this-test"


def note_batch(task: Task, desk: Desk) -> Content:
    tried.append((task.name, desk.job))
    if desk.job > 2:
        raise MemoryError
    return {"batch": desk.job}


tried: list[tuple[str, int]] = []


def test_half_a_batch_is_kept_for_the_next_place(tmp_path: Path) -> None:
    """The second place starts with the batch that the first has come down to."""
    tried.clear()
    tasks = [
        number_task(tmp_path, number, kind=Kind(note_batch), place=f"place {number}")
        for number in range(2)
    ]
    whole = replace(command(tmp_path, tasks, Job(), Tables()), job=8)
    whole = replace(whole, smaller=lambda size: size // 2 if size > 1 else None)
    origin = Origin("run", "")
    order = distant.Order(RUN, origin, str(tmp_path), str(tmp_path), Policy())
    journal = OwnJournal(SharedFolder(tmp_path, "run").journal("one"), name="one")
    desk = Desk(whole.job, Silence())
    with journal:
        distant._STATES[RUN] = distant.WorkerState(order, whole, journal, desk, ExitStack())
        try:
            for number in range(2):
                reply = distant.do_places(order, [f"place {number}"], {})
                assert reply == distant.WorkerReply()
        finally:
            del distant._STATES[RUN]
    assert tried == [("number 0", 8), ("number 0", 4), ("number 0", 2), ("number 1", 2)]
