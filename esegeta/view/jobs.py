"""Work for one model: done one piece at a time, watched and cancelled meanwhile."""

from __future__ import annotations

import sys
import threading
import traceback
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from esegeta.errors import EsegetaError

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
MOST_WAITING = 16
MOST_REMEMBERED = 200


class Cancelled(BaseException):
    """A job is no longer wanted; not an error, and not caught by `except Exception`."""


class BusyError(EsegetaError):
    """Too many jobs are waiting."""


@dataclass(eq=False)
class Job:
    """A piece of work and its progress.

    Args:
        number: number that identifies it.
        work: function that does it and returns plain values.
        total: approximate number of windows that it takes; None where unknown.
        done: number of windows that went through the network.
        state: its current state.
        result: result of finished work.
        message: reason why it failed.
        version: number that grows with every change.
    """

    number: int
    work: Callable[[], dict[str, Any]]
    total: int | None = None
    done: int = 0
    state: JobState = "queued"
    result: dict[str, Any] | None = None
    message: str = ""
    version: int = 0
    _is_unwanted: bool = field(default=False, repr=False)

    def describe(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "job": self.number,
            "state": self.state,
            "done": self.done,
            "total": self.total,
            "message": self.message,
            "result": self.result,
            "version": self.version,
        }


class Jobs:
    """Does jobs one after the other in a thread of its own.

    Args:
        report: called with errors that are not the user's fault.
    """

    def __init__(self, report: Callable[[str], None] | None = None) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Job] = deque()
        self._known: OrderedDict[int, Job] = OrderedDict()
        self._count = 0
        self._current: Job | None = None
        self._is_closed = False
        self._report = report or _print_error
        self._thread = threading.Thread(target=self._run, name="explaining", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], dict[str, Any]], *, total: int | None = None) -> Job:
        """Queue work until its turn comes.

        Raises:
            BusyError: too much is waiting already.
        """
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                raise BusyError(
                    f"{MOST_WAITING} questions are waiting", hint="wait, or cancel some"
                )
            self._count += 1
            job = Job(self._count, work, total)
            self._known[job.number] = job
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
            self._waiting.append(job)
            self._changed.notify_all()
            return job

    def find(self, number: int) -> Job | None:
        """Return a job; None where it is not known any more."""
        with self._changed:
            return self._known.get(number)

    def cancel(self, job: Job) -> None:
        """Drop a job that waits, or stop it after the windows that are in the network now."""
        with self._changed:
            if job.state == "queued":
                self._waiting.remove(job)
                self._set(job, "cancelled")
            elif job.state == "running":
                job._is_unwanted = True

    def wait(self, job: Job, version: int, seconds: float) -> dict[str, Any]:
        """Return a job's values once they are newer than a version, or after some seconds."""
        with self._changed:
            self._changed.wait_for(
                lambda: job.version > version or job.state in ENDED or self._is_closed, seconds
            )
            return job.describe()

    def advance(self, windows: int) -> None:
        """Count windows of the job that is being done; called from within it.

        Raises:
            Cancelled: the job is no longer wanted.
        """
        with self._changed:
            job = self._current
            if job is None:
                return
            if job._is_unwanted:
                raise Cancelled
            job.done += windows
            job.version += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Cancel all that waits or is being done, and end the thread."""
        with self._changed:
            self._is_closed = True
            for job in list(self._waiting):
                self.cancel(job)
            if self._current is not None:
                self._current._is_unwanted = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if not self._waiting:
                    return
                job = self._current = self._waiting.popleft()
                self._set(job, "running")
            self._do(job)
            with self._changed:
                self._current = None

    def _do(self, job: Job) -> None:
        state: JobState = "failed"
        try:
            job.result, state = job.work(), "done"
        except Cancelled:
            state = "cancelled"
        except EsegetaError as error:
            job.message = str(error)
        except Exception as error:
            job.message = f"{type(error).__name__}: {error}"
            self._report(traceback.format_exc())
        with self._changed:
            self._set(job, state)

    def _set(self, job: Job, state: JobState) -> None:
        job.state = state
        job.version += 1
        self._changed.notify_all()


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
