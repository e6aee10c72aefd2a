"""The controller of a cluster: hands out places, looks into who dies, gathers what is done.

It holds no tensor. A place that comes back unfinished, because its worker was killed, goes to
another worker, which skips what is finished.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from esegeta.config.cluster import ClusterKeys
from esegeta.errors import OutputError
from esegeta.stop import signals_held, stopped_by_signals
from esegeta.volume import sweep, write_text
from esegeta.workflow.command import RUNNING, STOPPED, Command, Policy
from esegeta.workflow.engine import FIRST_FAILURE
from esegeta.workflow.lock import locked
from esegeta.workflow.spread.able import require_cluster
from esegeta.workflow.spread.distant import (
    LetGo,
    NoRoomError,
    Order,
    WorkerReply,
    do_places,
    journal_name,
)
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import Gathered, gather_held, processes_of
from esegeta.workflow.spread.origin import Origin
from esegeta.workflow.spread.own_gpus import num_workers_of
from esegeta.workflow.spread.own_journal import JournalLine, done_in, read_journal
from esegeta.workflow.spread.parts import Lot, lots_of
from esegeta.workflow.spread.progress import Tail, ToldOnce
from esegeta.workflow.spread.run_part import keeping_hashes
from esegeta.workflow.spread.status import keep_expected
from esegeta.workflow.spread.submitters import Supply, cluster_of
from esegeta.workflow.spread.supply import EndlessSupply, SchedulerSupply
from esegeta.workflow.spread.tls import own_certificates
from esegeta.workflow.task import Listener, Silence

LOOK_S = 0.5
"""How often journals are looked into for progress."""
MOST_LOSSES = 10
"""A place whose workers die so often before they begin a task is given up."""
MOST_FULL = 3
"""Workers whose disks are full, one after the other, before further ones are not waited for."""


def run_on_cluster(
    origin: Origin, keys: ClusterKeys, listener: Listener, policy: Policy | None = None
) -> tuple[Gathered, Command]:
    """Do a command by workers; tables and record are written here, from their journals.

    Raises:
        EsegetaError: the first thing found wrong with command or cluster.
        OutputError: another process holds the output folder, or workers do not see it.
        Stopped: by Ctrl-C or SIGTERM, after what was finished has been recorded.
    """
    policy, listener = policy or Policy(), ToldOnce(listener)
    config = origin.load()
    root = origin.root(config)
    folder = SharedFolder(root, origin.command)
    require_cluster(keys, config.keys.name, folder.logs)
    origin = origin.fixed(config)
    with keeping_hashes(folder, "controller"):
        command = origin.build(Silence())
        command = replace(command, notes=(*command.notes, *own_lines(keys)))
        with stopped_by_signals(), locked(root):
            command.claim(policy)
            sweep(root)
            if policy.overwrite and command.forget is not None:
                command.forget()
                policy = replace(policy, overwrite=False)
            origin.save(folder)
            keep_expected(folder, command)
            if policy.overwrite:  # what is there will be done again
                listener.expect(command.num_tasks)
            known = gather_held(
                command,
                folder,
                Silence() if policy.overwrite else listener,
                lambda line: before(line, policy),
                state=RUNNING,
                check=policy.check,
            )
            for path in folder.journals:  # what they say stands in the command's own journal now
                path.unlink()
            order = Order(uuid.uuid4().hex[:12], origin, str(root), str(Path.cwd()), policy)
            write_text(folder.path / "run-id", order.run)
            places = frozenset(command.places) if policy.overwrite else known.places
            start = time.perf_counter()
            try:
                if places:
                    with handing_out(keys, folder, order, config.keys.name, listener) as hands:
                        stopped = _in_rounds(
                            hands, command, folder, places, listener, policy, known
                        )
                    if stopped:
                        command = replace(command, notes=(*command.notes, FIRST_FAILURE))
                    if hands.has_lost_some:
                        sweep(root, processes_of(folder))
            except BaseException:
                with signals_held():
                    sweep(root, processes_of(folder))
                    gather_held(command, folder, Silence(), state=STOPPED)
                raise
            gathered = gather_held(command, folder, Silence())
            outcome = replace(gathered.outcome, seconds=time.perf_counter() - start)
            return replace(gathered, outcome=outcome), command


def own_lines(keys: ClusterKeys) -> list[str]:
    """Return a note where a cluster's block holds lines that jobs run: they are code."""
    given = [f"`{name}`" for name in ("prologue", "options") if getattr(keys, name)]
    return [f"cluster: every job runs its lines of {' and '.join(given)}"] if given else []


def before(line: JournalLine, policy: Policy) -> JournalLine | None:
    """Return what counts of earlier runs: what failed is tried again, what was done is skipped."""
    if policy.overwrite or line["status"] == "failed":
        return None
    return {**line, "status": "skipped", "seconds": 0.0}


def _in_rounds(
    hands: Hands,
    command: Command,
    folder: SharedFolder,
    places: frozenset[str],
    listener: Listener,
    policy: Policy,
    known: Gathered,
) -> bool:
    """Hand out places until nothing is left; what stands on all of them is done in between.

    Returns whether a failure has stopped it before.
    """
    gathered = known
    while places:
        waited_for = gathered.waiting
        costs = {name: command.places.get(name, 0.0) for name in places}
        lots = lots_of(costs, command.pieces, hands.num_workers)
        if hands.do(lots, listener, policy):
            return True
        gathered = gather_held(command, folder, Silence())
        if gathered.waiting == waited_for:
            break
        places = gathered.places
    return False


@contextmanager
def handing_out(
    keys: ClusterKeys, folder: SharedFolder, order: Order, name: str, listener: Listener
) -> Iterator[Hands]:
    """Yield what hands places to workers; these end with the block."""
    if keys.kind == "address":
        with Client(keys.address, set_as_default=False) as client:
            client.register_plugin(LetGo())
            count = len(client.nthreads())
            if count == 0:
                listener.note(f"no worker is connected to {keys.address} yet; waiting for one")
            theirs = SchedulerSupply(client, str(keys.address))
            yield Hands(client, order, folder, max(1, count), theirs)
        return
    with (
        own_certificates(folder.path / "tls") as security,
        cluster_of(keys, security, folder, name) as (cluster, supply),
        Client(cluster, security=security, set_as_default=False) as client,
    ):
        client.register_plugin(LetGo())
        if find_spec("bokeh") is not None:  # Dask draws with it
            listener.note(f"dashboard, on this machine only: {cluster.dashboard_link}")
        order = replace(order, log=keys.kind == "local")
        yield Hands(client, order, folder, num_workers_of(keys), supply)


@dataclass(eq=False)
class Hands:
    """Hands places to workers, and takes them back from those that die.

    Args:
        client: of the scheduler.
        order: what all workers are told.
        folder: where their journals lie.
        num_workers: how many there are when all have come.
        supply: looks whether there are any, and whether more will come.
    """

    client: Client
    order: Order
    folder: SharedFolder
    num_workers: int = 1
    supply: Supply = field(default_factory=EndlessSupply)
    _deaths: Counter[str] = field(default_factory=Counter)
    _done: set[str] = field(default_factory=set)
    _losses: Counter[str] = field(default_factory=Counter)
    _seen_dead: set[str] = field(default_factory=set)
    _ended: queue.SimpleQueue[Any] = field(default_factory=queue.SimpleQueue)
    _attempts: int = 0
    _full: set[str] = field(default_factory=set)
    has_lost_some: bool = field(default=False, init=False)
    """Whether a worker has gone while it was at work: it may have been writing."""

    def do(
        self,
        lots: Collection[Lot],
        listener: Listener,
        policy: Policy,
    ) -> bool:
        """Have lots done, in their order; return whether to stop at a failure.

        Raises:
            OutputError: workers cannot work.
        """
        tail = Tail(self.folder)
        futures = {}
        for lot in lots:
            future = self._submit(lot)
            futures[future.key] = (lot, future)
        while futures:
            if self._look(tail, listener) and policy.fail_fast:
                self.client.cancel([future for _, future in futures.values()], force=True)
                self.has_lost_some = True
                return True
            self.supply.look()
            try:
                key = self._ended.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            lot, future = futures.pop(key)
            if self._is_to_be_done_again(str(lot), future):
                again = self._submit(lot)
                futures[again.key] = (lot, again)
            del future  # the scheduler forgets it
        self._look(tail, listener)
        return False

    def _submit(self, lot: Lot) -> Any:
        self._attempts += 1
        future = self.client.submit(
            do_places,
            self.order,
            sorted(lot.names),
            dict(self._deaths),
            sorted(self._done),
            # Keys of one group each: else a worker's death is blamed on all that share a name.
            key=("place", str(lot), self._attempts),
            pure=False,
            priority=-self._attempts,
        )
        future.add_done_callback(lambda done: self._ended.put(done.key))
        return future

    def _look(self, tail: Tail, listener: Listener) -> bool:
        """Tell the listener what has ended; return whether something failed."""
        has_failed = False
        for ended in tail.ended():
            listener.end(ended)
            has_failed = has_failed or ended.status == "failed"
        return has_failed

    def _is_to_be_done_again(self, place: str, future: Any) -> bool:
        if future.status == "finished":
            answer: WorkerReply = future.result()
            future.release()  # a worker that is let go would look for somebody to keep it
            if answer.refusal is not None:
                message, hint = answer.refusal
                raise OutputError(message, hint=hint)
            self._full.clear()
            return False
        error: Any = future.exception() if future.status == "error" else None
        if isinstance(error, NoRoomError):
            self._send_away(error)
            return True
        self.has_lost_some = True
        if future.status in ("cancelled", "lost"):
            return True
        if not isinstance(error, KilledWorker):
            raise error
        if self._look_into(error.last_worker.address):
            return True
        self._losses[place] += 1
        if self._losses[place] < MOST_LOSSES:
            return True
        raise OutputError(
            f"{place}: {MOST_LOSSES} workers died before starting any of its tasks",
            hint=f"see their logs in {self.folder.logs}; does a worker get enough memory for the "
            "network?",
        )

    def _send_away(self, error: NoRoomError) -> None:
        """Let a worker go whose disk is full; the error is raised where none is left to try."""
        self._full.add(error.worker)
        if error.worker in self.client.nthreads():
            self.client.retire_workers([error.worker])
        left = self.client.nthreads().keys() - self._full
        are_more_to_come = self.supply.brings_more and len(self._full) < MOST_FULL
        if len(self._full) >= self.num_workers + MOST_FULL or not (left or are_more_to_come):
            raise error

    def _look_into(self, address: str) -> bool:
        """Count what a dead worker was at; return whether it had begun to work at all."""
        pattern = f"{journal_name(address, '*')}.jsonl"
        new = [
            read_journal(path)
            for path in self.folder.path.glob(f"journals/{pattern}")
            if path.name not in self._seen_dead
        ]
        for read in new:
            self._seen_dead.add(read.path.name)
            self._deaths.update(read.begun)
            if self.order.policy.overwrite:
                self._done.update(done_in(read.path))
        return bool(new)
