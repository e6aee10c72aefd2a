"""The engine over small tasks: order, skipping, failures, follow-ups, and what recording costs."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from esegeta.volume import write_text
from esegeta.workflow import engine
from esegeta.workflow.cache import finished
from esegeta.workflow.command import Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.journal import NAME, Pace
from esegeta.workflow.task import Content, Desk, Ended, Fault, Kind, Silence, Task
from tests.workflow.tasks import (
    NUMBER,
    Job,
    Tables,
    command,
    journal_lines,
    number_task,
    user_error,
    write_number,
)


def run(root: Path, tasks: list[Task], job: Job | None = None, **policy: bool):
    tables = Tables()
    outcome = run_command(command(root, tasks, job or Job(), tables), None, Policy(**policy))
    return outcome, tables


def numbers(root: Path, count: int) -> list[Task]:
    return [number_task(root, number) for number in range(count)]


def statuses(outcome) -> dict[str, str]:
    return {ended.name: ended.status for ended in outcome.results}


def test_tasks_are_done_once_and_then_skipped(tmp_path: Path) -> None:
    job, tasks = Job(), numbers(tmp_path, 3)
    outcome, tables = run(tmp_path, tasks, job)
    assert [ended.status for ended in outcome.results] == ["done"] * 3
    assert tables.written[-1] == ("complete", [0, 1, 2], [])
    again, tables = run(tmp_path, tasks, job)
    assert [ended.status for ended in again.results] == ["skipped"] * 3
    assert tables.written[-1] == ("complete", [0, 1, 2], [])  # as if they had been done now
    assert job.done == ["number 0", "number 1", "number 2"]
    assert (outcome.exit_code, again.exit_code) == (0, 0)


def test_a_task_with_another_key_is_done_again(tmp_path: Path) -> None:
    job, tasks = Job(), numbers(tmp_path, 2)
    run(tmp_path, tasks, job)
    run(tmp_path, [tasks[0], replace(tasks[1], key="other")], job)
    assert job.done == ["number 0", "number 1", "number 1"]


def test_a_record_whose_files_are_gone_does_not_count(tmp_path: Path) -> None:
    job, file = Job(), tmp_path / "beside"

    def write_two(task: Task, desk: Desk) -> Content:
        write_text(file, "two")
        return write_number(task, desk)

    task = number_task(tmp_path, 0, files=(file,), kind=replace(NUMBER, do=write_two))
    run(tmp_path, [task], job)
    assert finished(task) is not None
    file.unlink()
    assert finished(task) is None
    file.touch()
    assert finished(task) is None


def test_overwrite_does_all_again(tmp_path: Path) -> None:
    job, tasks = Job(), numbers(tmp_path, 2)
    run(tmp_path, tasks, job)
    run(tmp_path, tasks, job, overwrite=True)
    assert job.done == ["number 0", "number 1"] * 2


def test_one_failure_does_not_stop_the_others(tmp_path: Path) -> None:
    job = Job(failing={"number 1": user_error()})
    outcome, tables = run(tmp_path, numbers(tmp_path, 3), job)
    assert statuses(outcome) == {"number 0": "done", "number 1": "failed", "number 2": "done"}
    assert outcome.failures[0].message == "it is wrong; mend it"
    assert not outcome.failures[0].is_bug
    assert (outcome.exit_code, tables.written[-1][0]) == (1, "incomplete")


def test_the_exit_code_is_2_if_all_tasks_fail_by_user_errors(tmp_path: Path) -> None:
    failing = {f"number {number}": user_error() for number in range(2)}
    outcome, tables = run(tmp_path, numbers(tmp_path, 2), Job(failing=failing))
    assert (outcome.exit_code, tables.written[-1][0]) == (2, "failed")


def test_a_bug_keeps_its_traceback_and_is_not_the_users_fault(tmp_path: Path) -> None:
    job = Job(failing={"number 0": ZeroDivisionError("a bug")})
    outcome, _ = run(tmp_path, numbers(tmp_path, 1), job)
    (failure,) = outcome.failures
    assert failure.is_bug
    assert failure.message == "ZeroDivisionError: a bug"
    assert "write_number" in failure.traceback
    assert outcome.exit_code == 1


def test_running_out_of_memory_says_what_to_lower(tmp_path: Path) -> None:
    job = Job(failing={"number 0": RuntimeError("DefaultCPUAllocator: can't allocate memory")})
    kind = replace(NUMBER, memory_hint="lower it")
    outcome, _ = run(tmp_path, [number_task(tmp_path, 0, kind=kind)], job)
    assert outcome.failures[0].message == "out of memory; lower it"
    assert not outcome.failures[0].is_bug


def test_fail_fast_stops_at_the_first(tmp_path: Path) -> None:
    job = Job(failing={"number 1": user_error()})
    outcome, tables = run(tmp_path, numbers(tmp_path, 3), job, fail_fast=True)
    assert statuses(outcome) == {"number 0": "done", "number 1": "failed"}
    assert tables.written[-1] == ("incomplete", [0, None], ["stopped at the first failure"])


def test_a_failed_task_removes_its_outdated_results(tmp_path: Path) -> None:
    first, second = numbers(tmp_path, 2)
    run(tmp_path, [first, second])
    failing = {"number 0": user_error(), "number 1": user_error()}
    other = [replace(first, key="other"), replace(second, key=None)]
    run(tmp_path, other, Job(failing=failing))
    assert not (tmp_path / "0.json").exists()
    assert (tmp_path / "1.json").exists()  # nobody can tell whether it matches


def test_tasks_that_need_a_failed_step_fail_with_it(tmp_path: Path) -> None:
    step = number_task(tmp_path, 0, is_step=True)
    needy = number_task(tmp_path, 1, needs=("number 0",))
    job = Job(failing={"number 0": user_error()})
    outcome, _ = run(tmp_path, [step, needy, number_task(tmp_path, 2)], job)
    assert statuses(outcome) == {"number 1": "failed", "number 2": "done"}
    assert outcome.failures[0].message == "it is wrong; mend it"
    fast, _ = run(tmp_path, [step, needy, number_task(tmp_path, 2)], job, fail_fast=True)
    assert statuses(fast) == {"number 1": "failed"}


def test_a_task_with_a_known_fault_fails(tmp_path: Path) -> None:
    task = number_task(tmp_path, 0, fault=Fault("no such file"))
    outcome, _ = run(tmp_path, [task])
    assert outcome.failures[0].message == "no such file"


def announce_more(task: Task, content: Content, desk: Desk) -> list[Task]:
    assert task.record is not None
    root = task.record.parent
    return [number_task(root, 10 * task.data["number"] + place) for place in (1, 2)]


def test_tasks_announced_by_a_result_run_right_after_it(tmp_path: Path) -> None:
    kind = replace(NUMBER, follow=announce_more)
    tasks = [number_task(tmp_path, 1, kind=kind), number_task(tmp_path, 2)]
    job = Job()
    run(tmp_path, tasks, job)
    assert job.done == ["number 1", "number 11", "number 12", "number 2"]
    again, _ = run(tmp_path, tasks, job)
    assert list(statuses(again).values()) == ["skipped"] * 4


def test_a_batch_is_prepared_together_without_finished_tasks(tmp_path: Path) -> None:
    run(tmp_path, [number_task(tmp_path, 1)])
    tasks = [number_task(tmp_path, number, batch="ab"[number // 3]) for number in range(5)]
    job = Job()
    run(tmp_path, tasks, job)
    assert job.prepared == [["number 0", "number 2"], ["number 3", "number 4"]]


def test_a_failed_preparation_fails_the_whole_batch(tmp_path: Path) -> None:
    tasks = [number_task(tmp_path, number, batch="a") for number in range(2)]
    tasks.append(number_task(tmp_path, 2))
    outcome, _ = run(tmp_path, tasks, Job(failing={"prepare number 1": user_error()}))
    assert list(statuses(outcome).values()) == ["failed", "failed", "done"]


@pytest.mark.slow
def test_a_batch_out_of_memory_is_prepared_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[str] = []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: freed.append("cache"))
    tasks = [number_task(tmp_path, number, batch="a") for number in range(2)]
    job = Job(failing={"prepare number 0": RuntimeError("CUDA out of memory.")})
    outcome, _ = run(tmp_path, tasks, job)
    assert list(statuses(outcome).values()) == ["done", "done"]
    assert freed[0] == "cache"


def test_results_stand_in_the_order_of_tables(tmp_path: Path) -> None:
    tasks = [number_task(tmp_path, number) for number in (2, 0, 1)]
    _, tables = run(tmp_path, tasks)
    assert tables.written[-1][1] == [0, 1, 2]


def test_the_journal_has_a_line_for_each_task(tmp_path: Path) -> None:
    job = Job(failing={"number 1": user_error()})
    run(tmp_path, numbers(tmp_path, 2), job)
    first, second = journal_lines(tmp_path / NAME)
    assert (first["task"], first["status"], first["content"]) == ("number 0", "done", {"number": 0})
    assert second["fault"]["message"] == "it is wrong; mend it"


class Simulated(Silence):
    """A clock on which tasks end every tenth of a second and a row of a table takes 1 ms."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rows = 0

    def end(self, ended: Ended) -> None:
        self.now += 0.1

    def write(self, ended: Sequence[Ended], state: str, notes: Sequence[str]) -> None:
        self.now += 0.001 * len(ended)
        self.rows += len(ended)


@pytest.mark.parametrize("already_done", [False, True], ids=["done", "skipped"])
@pytest.mark.slow
def test_recording_costs_grow_linearly_with_tasks(
    already_done: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {}
    for count in (400, 1600):
        root, time = tmp_path / str(count), Simulated()
        tasks = numbers(root, count)
        if already_done:
            run(root, tasks)
        with monkeypatch.context() as patch:
            patch.setattr(engine, "Pace", lambda time=time: Pace(clock=lambda: time.now))
            run_command(replace(command(root, tasks, Job(), Tables()), write=time.write), time)
        rows[count] = time.rows
        # A twentieth of the time at most, but for the first and the last writing.
        assert 0.001 * time.rows <= 0.05 * time.now + 2 * 0.001 * count
    assert rows[1600] <= 5 * rows[400]


def test_only_the_record_of_a_finished_task_is_read_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = numbers(tmp_path, 50)
    run(tmp_path, tasks)
    reads: list[Path] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read_bytes(self))
    run(tmp_path, tasks)
    assert sorted(reads) == sorted(task.record for task in tasks)


def test_tasks_can_be_pickled(tmp_path: Path) -> None:
    task = number_task(tmp_path, 3, kind=replace(NUMBER, follow=announce_more))
    assert pickle.loads(pickle.dumps(task)) == task


def opened(task: Task, desk: Desk) -> Content:
    desk.once("case", lambda: desk.job.done.append(f"open {task.scope[0]}"), depth=1)
    return {}


def failing_once(task: Task, desk: Desk) -> Content:
    def make() -> None:
        desk.job.done.append("tried")
        raise user_error()

    desk.once("case", make, depth=1)
    return {}


def test_the_desk_remembers_what_a_scope_has_opened(tmp_path: Path) -> None:
    scopes = [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")]
    tasks = [
        Task(name=str(place), kind=Kind(opened), key=None, scope=scope)
        for place, scope in enumerate(scopes)
    ]
    job = Job()
    run(tmp_path, tasks, job)
    assert job.done == ["open a", "open b", "open a"]


def test_the_desk_remembers_failures_too(tmp_path: Path) -> None:
    tasks = [Task(name=str(n), kind=Kind(failing_once), key=None, scope=("a",)) for n in range(3)]
    job = Job()
    outcome, _ = run(tmp_path, tasks, job)
    assert job.done == ["tried"]
    assert len(outcome.failures) == 3


def fill_memory(task: Task, desk: Desk) -> Content:
    if desk.job.room > 2:
        raise MemoryError
    desk.once("made", object, depth=0)
    return {"room": desk.job.room}


@pytest.mark.slow
def test_out_of_memory_halves_the_batch_of_all_that_follows(tmp_path: Path) -> None:
    class Sized(Job):
        room = 8

    def halved(job: Sized) -> Sized:
        smaller = Sized()
        smaller.room = job.room // 2
        return smaller

    tasks = [number_task(tmp_path, number, kind=Kind(fill_memory)) for number in range(2)]
    tables = Tables()
    whole = replace(command(tmp_path, tasks, Sized(), tables), smaller=halved)
    outcome = run_command(whole)
    assert [ended.content["room"] for ended in outcome.results] == [2, 2]
    notes = tables.written[-1][2]
    assert notes == ["number 0: out of memory; continuing with half the batch size"]
