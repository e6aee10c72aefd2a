"""One job at a time; each can be watched and cancelled."""

import threading
from collections.abc import Iterator

import pytest

from esegeta.errors import TargetError
from esegeta.view.jobs import MOST_WAITING, BusyError, Job, Jobs

PATIENCE_S = 10.0


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    said: list[str] = []
    found = Jobs(said.append)
    yield found
    found.close()
    assert not found._thread.is_alive()


def ended(jobs: Jobs, job: Job) -> dict[str, object]:
    state = jobs.wait(job, -1, PATIENCE_S)
    while state["state"] in ("queued", "running"):
        state = jobs.wait(job, int(state["version"]), PATIENCE_S)
    return state


class Slow:
    """Work that goes on for as long as it is not let go, a window at a time."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs
        self.begun, self.let_go = threading.Event(), threading.Event()

    def __call__(self) -> dict[str, object]:
        self.begun.set()
        while not self.let_go.wait(0.002):
            self.jobs.advance(1)
        return {"done": True}


def test_jobs_are_done_one_after_the_other(jobs: Jobs) -> None:
    slow, order = Slow(jobs), list[int]()
    first = jobs.submit(slow, total=5)
    others = [jobs.submit(lambda n=n: {"n": order.append(n)}) for n in range(3)]
    assert slow.begun.wait(PATIENCE_S)
    assert [job.describe()["state"] for job in (first, *others)] == ["running", *["queued"] * 3]
    slow.let_go.set()
    assert [ended(jobs, job)["state"] for job in others] == ["done"] * 3
    assert order == [0, 1, 2] and first.describe()["result"] == {"done": True}


def test_progress_is_reported_as_it_comes(jobs: Jobs) -> None:
    slow = Slow(jobs)
    job = jobs.submit(slow, total=5)
    before = jobs.wait(job, -1, PATIENCE_S)
    after = jobs.wait(job, int(before["version"]) + 2, PATIENCE_S)
    assert after["done"] > before["done"] and after["total"] == 5
    slow.let_go.set()


def test_cancelling_stops_a_running_job_and_drops_a_waiting_one(jobs: Jobs) -> None:
    slow, done = Slow(jobs), list[int]()
    running = jobs.submit(slow)
    waiting = jobs.submit(lambda: {"n": done.append(1)})
    assert slow.begun.wait(PATIENCE_S)
    jobs.cancel(waiting)
    assert waiting.state == "cancelled"
    jobs.cancel(running)
    assert ended(jobs, running)["state"] == "cancelled"
    last = jobs.submit(lambda: {"n": done.append(2)})
    assert ended(jobs, last)["state"] == "done" and done == [2]
    jobs.cancel(last)  # too late, and no fault
    assert last.state == "done"


def test_a_fault_is_reported_and_the_next_job_runs() -> None:
    said: list[str] = []
    jobs = Jobs(said.append)

    def wrong() -> dict[str, object]:
        raise TargetError("no such label", hint="choose another")

    def bug() -> dict[str, object]:
        raise ZeroDivisionError("by zero")

    faults = [ended(jobs, jobs.submit(work)) for work in (wrong, bug)]
    assert [one["message"] for one in faults] == [
        "no such label; choose another",
        "ZeroDivisionError: by zero",
    ]
    assert ended(jobs, jobs.submit(dict))["state"] == "done"
    jobs.close()
    assert len(said) == 1 and "in bug" in said[0]  # the user's own fault is no bug


def test_the_number_of_waiting_jobs_is_limited(jobs: Jobs) -> None:
    slow = Slow(jobs)
    jobs.submit(slow)
    assert slow.begun.wait(PATIENCE_S)
    for _ in range(MOST_WAITING):
        jobs.submit(dict)
    with pytest.raises(BusyError):
        jobs.submit(dict)
    slow.let_go.set()


def test_closing_stops_the_running_job() -> None:
    jobs = Jobs()
    slow = Slow(jobs)
    job = jobs.submit(slow)
    assert slow.begun.wait(PATIENCE_S)
    jobs.close()
    assert job.state == "cancelled"


def test_closing_drops_waiting_jobs() -> None:
    jobs, done = Jobs(), list[int]()
    slow = Slow(jobs)
    jobs.submit(slow)
    assert slow.begun.wait(PATIENCE_S)
    waiting = [jobs.submit(lambda: {"n": done.append(1)}) for _ in range(3)]
    jobs.close()
    assert [job.state for job in waiting] == ["cancelled"] * 3 and not done


def test_only_the_latest_jobs_are_remembered(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esegeta.view.jobs.MOST_REMEMBERED", 2)
    numbers = []
    for _ in range(4):
        job = jobs.submit(dict)
        ended(jobs, job)
        numbers.append(job.number)
    known = [number for number in numbers if jobs.find(number) is not None]
    assert known == numbers[-2:]
