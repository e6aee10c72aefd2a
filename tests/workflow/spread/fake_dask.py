"""A client of Dask's without Dask: what it is handed is done at once, or comes to grief.

The only worker is this process. Fates say what becomes of what is handed out, one after the
other; all that follows is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client
from distributed.scheduler import KilledWorker

from esegeta.workflow.spread import able, controller, distant
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import OwnJournal
from tests.workflow.tasks import number_task

ADDRESS = "tcp://10.0.0.7:4711"


class FakeFuture:
    """What becomes of something that was handed out."""

    def __init__(self, key: object) -> None:
        self.key = key
        self.status = "pending"
        self.answer: Any = None
        self.error: Exception | None = None

    def result(self) -> Any:
        return self.answer

    def exception(self) -> Exception | None:
        return self.error

    def release(self) -> None:
        """Hold nothing: nobody would look for it."""

    def add_done_callback(self, call: Callable[[FakeFuture], object]) -> None:
        if self.status != "pending":
            call(self)

    def fail(self, error: Exception) -> None:
        self.status, self.error = "error", error


Fate = Callable[[FakeFuture, Callable[[], Any], distant.Order], None]


def done(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    try:
        future.answer = work()
        future.status = "finished"
    except Exception as error:
        future.fail(error)


def never(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    """Nobody begins it."""


def lost(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    future.status = "lost"


def killed(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    """Whoever has it begins a task of it, and dies."""
    folder = SharedFolder(Path(order.root), order.origin.command)
    path = folder.journal(distant.journal_name(ADDRESS, 1))
    with OwnJournal(path, name="worker 0", address=ADDRESS) as journal:
        journal.begin([number_task(folder.root, 0)])
    future.fail(KilledWorker("key", SimpleNamespace(address=ADDRESS), 0))


def stumbles(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    future.fail(ZeroDivisionError("a bug"))


def elsewhere(future: FakeFuture, work: Callable[[], Any], order: distant.Order) -> None:
    """Whoever has it looks at a disk that the controller does not write to."""
    run_id = SharedFolder(Path(order.root), order.origin.command).path / "run-id"
    run_id.unlink()
    done(future, work, order)


class FakeClient:
    """Stands for the class of Dask's clients, and for the one that is made of it."""

    def __init__(self, fates: Sequence[Fate] = (), workers: int = 1) -> None:
        self.fates = list(fates)
        self.workers = {ADDRESS: 1} if workers else {}
        self.status = ""
        self.handed_out: list[list[str]] = []
        self.cancelled: list[FakeFuture] = []
        self.plugins: list[object] = []

    @property
    def __class__(self) -> type[Client]:
        """What `isinstance` takes it for."""
        return Client

    def __call__(self, *address: object, **options: object) -> FakeClient:
        return self

    def __enter__(self) -> FakeClient:
        self.status = "running"
        return self

    def __exit__(self, *error: object) -> None:
        self.status = "closed"

    def register_plugin(self, plugin: object) -> None:
        self.plugins.append(plugin)

    def nthreads(self) -> dict[str, int]:
        return self.workers

    def cancel(self, futures: list[FakeFuture], force: bool) -> None:
        self.cancelled += futures

    def submit(
        self,
        function: Callable[..., Any],
        order: distant.Order,
        names: list[str],
        *rest: Any,
        key: object,
        **options: object,
    ) -> FakeFuture:
        future = FakeFuture(key)
        fate = self.fates.pop(0) if self.fates else done
        self.handed_out.append(names)
        fate(future, partial(function, order, names, *rest), order)
        return future


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClient]:
    """Put it in the place of Dask's; what the worker has kept is closed afterwards."""
    fake = FakeClient()
    monkeypatch.setattr(able, "Client", fake)
    monkeypatch.setattr(controller, "Client", fake)
    monkeypatch.setattr(controller, "LOOK_S", 0.001)
    worker = SimpleNamespace(address=ADDRESS, name=0)
    monkeypatch.setattr(distant, "get_worker", lambda: worker)
    with closed_workers():
        yield fake


@contextmanager
def closed_workers() -> Iterator[None]:
    """End what workers of this process keep as long as they live."""
    try:
        yield
    finally:
        while distant._STATES:
            distant._STATES.popitem()[1].stack.close()
