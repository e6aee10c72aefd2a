"""What a worker of a cluster keeps from place to place."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from esegeta.workflow.command import Policy
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import OwnJournal, read_journal
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


@pytest.mark.slow
def test_a_batch_size_that_was_halved_is_kept_for_the_next_place(tmp_path: Path) -> None:
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


def kept_state(root: Path) -> distant.WorkerState:
    """Return what a worker keeps that has begun a task."""
    whole = command(root, [], Job(), Tables())
    order = distant.Order(RUN, Origin("run", ""), str(root), str(root), Policy())
    journal = OwnJournal(SharedFolder(root, "run").journal("one"), name="one").__enter__()
    journal.begin([number_task(root, 0)])
    stack = ExitStack()
    stack.push(journal)
    return distant.WorkerState(order, whole, journal, Desk(whole.job, Silence()), stack)


@pytest.mark.parametrize("has_closed", [False, True], ids=["open", "closed"])
def test_a_worker_that_is_told_to_end_does_not_blame_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_closed: bool
) -> None:
    """A worker whose journal is closed has ended already, and writes nothing."""
    state = kept_state(tmp_path)
    monkeypatch.setattr(distant, "_STATES", {RUN: state})
    if has_closed:
        state.stack.close()
    distant.LetGo().teardown(None)
    state.stack.close()
    begun = read_journal(state.journal.path).begun
    assert begun == (("number 0",) if has_closed else ())


def test_a_worker_ends_though_its_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = kept_state(tmp_path)
    monkeypatch.setattr(distant, "_STATES", {RUN: state})
    state.stack.close()
    with Path("/dev/full").open("wb", buffering=0) as state.journal._file:
        distant.LetGo().teardown(None)
    assert read_journal(state.journal.path).begun == ("number 0",)


def test_a_worker_records_the_name_of_its_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    with OwnJournal(tmp_path / "one.jsonl", name="one") as journal:
        pass
    assert read_journal(journal.path).head["device"] == "NVIDIA H200"
