"""What a worker of a cluster runs: one place of a command at a time, with its own journal.

These functions are sent by their names; nothing but plain values travels, and never a tensor.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from distributed import WorkerPlugin, get_worker

from esegeta.errors import EsegetaError, OutputError
from esegeta.workflow.command import Command, Policy
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.origin import OF_CASES, Origin
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.spread.run_part import keeping_hashes
from esegeta.workflow.spread.worker import PlaceEngine
from esegeta.workflow.task import Desk, Silence


@dataclass(frozen=True)
class Order:
    """What all workers of a run are told.

    Args:
        run: tells this run from all others.
        origin: what is done.
        root: the output folder.
        folder: where the run was started, from which paths count.
        policy: how to treat what is there and what fails.
        log: send what is printed to the folder's logs, where the batch system does not.
    """

    run: str
    origin: Origin
    root: str
    folder: str
    policy: Policy = field(default_factory=Policy)
    log: bool = False


@dataclass(frozen=True)
class WorkerReply:
    """What a worker says of what it was handed.

    Args:
        refusal: message and hint where the worker cannot work at all.
    """

    refusal: tuple[str, str] | None = None


class NoRoomError(OutputError):
    """A worker cannot write any more; others may have room.

    It is raised, not replied: the only worker cannot be let go while it holds a reply.

    Args:
        message: what was wrong, and where.
        hint: what to do.
        worker: its address.
    """

    def __init__(self, message: str, *, hint: str = "", worker: str = "") -> None:
        super().__init__(message, hint=hint)
        self.worker = worker


@dataclass(eq=False)
class WorkerState:
    """What a worker keeps from place to place: the network, its journal, what tasks share."""

    order: Order
    command: Command
    journal: OwnJournal
    desk: Desk
    stack: ExitStack


_STATES: dict[str, WorkerState] = {}


def do_places(
    order: Order,
    names: Collection[str],
    deaths: Mapping[str, int],
    done: Collection[str] = (),
) -> WorkerReply:
    """Do the tasks of a place, or of pieces of one, that are not finished.

    Args:
        order: what all workers are told.
        names: of the place or its pieces.
        deaths: how many workers each task of them has killed.
        done: tasks that workers have done who died since; not done again under `overwrite`.

    Raises:
        NoRoomError: the disk of this worker is full.
    """
    try:
        state = _state(order)
    except EsegetaError as error:
        return WorkerReply((error.message, error.hint))
    state.journal.deaths, state.journal.done = deaths, frozenset(done)
    policy = replace(order.policy, fail_fast=False)  # the controller stops all
    engine = PlaceEngine(
        state.command, Silence(), policy, state.journal, frozenset(names), state.desk
    )
    try:
        engine.run()
    except OutputError as error:
        worker = str(get_worker().address)
        raise NoRoomError(error.message, hint=error.hint, worker=worker) from error
    finally:
        state.desk = engine.desk  # with half the batch, where memory ran out
    state.journal.entries.clear()
    return WorkerReply()


class LetGo(WorkerPlugin):  # type: ignore[misc]
    """Notes, when a worker is asked to end, that the task in its hands is innocent."""

    name = "esegeta-let-go"

    def teardown(self, worker: object) -> None:
        """Say so in the journal."""
        for state in _STATES.values():
            with suppress(OutputError):  # a full disk, on which a worker has to end all the same
                state.journal.drop()


def journal_name(address: str, pid: int | str) -> str:
    """Return what the journal of a worker is called; addresses may come again."""
    return f"worker-{re.sub(r'[^0-9A-Za-z]+', '-', address)}-{pid}"


def _state(order: Order) -> WorkerState:
    if order.run not in _STATES:
        _STATES[order.run] = _set_up(order)
    return _STATES[order.run]


def _set_up(order: Order) -> WorkerState:
    folder = SharedFolder(Path(order.root), order.origin.command)
    address = get_worker().address
    name = journal_name(address, os.getpid())
    _require_seen(folder, order)
    os.chdir(order.folder)
    if order.log:
        _print_to(folder.logs / f"{name}.log")
    stack = ExitStack()
    stack.enter_context(keeping_hashes(folder, name))
    only = () if order.origin.command in OF_CASES else None
    command = order.origin.build(Silence(), only)
    worker = str(get_worker().name)
    journal = OwnJournal(
        folder.journal(name),
        name=f"worker {worker}",
        address=address,
        origin=order.origin.sha256,
    )
    stack.enter_context(journal)
    return WorkerState(order, command, journal, Desk(command.job, Silence()), stack)


def _require_seen(folder: SharedFolder, order: Order) -> None:
    """Refuse to work where the output folder is not the one that the controller writes to."""
    try:
        there = (folder.path / "run-id").read_text()
    except OSError:
        there = ""
    if there != order.run or not Path(order.folder).is_dir():
        missing = order.folder if there == order.run else order.root
        raise OutputError(
            f"{missing}: the worker on {os.uname().nodename} does not see this folder",
            hint="give a folder on a disk that all machines share, with `output:` or -o",
        )


def _print_to(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
