"""The engine of one of several processes: together they do what one does, each its own places."""

import errno
import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from esegeta.errors import OutputError
from esegeta.report.shapes import Told
from esegeta.stop import Stopped
from esegeta.workflow.command import Command, Policy
from esegeta.workflow.engine import run_command
from esegeta.workflow.lock import SHARED, STALE_S, Holder, locked, shared
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import Gathered, gather
from esegeta.workflow.spread.own_journal import MOST_DEATHS, OwnJournal, done_in, read_journal
from esegeta.workflow.spread.worker import PlaceEngine, full_disk
from esegeta.workflow.task import Content, Desk, Ended, Kind, Silence, Task
from tests.workflow.tasks import Job, Tables, command, number_task, user_error


def placed(root: Path, count: int) -> list[Task]:
    return [number_task(root, k, place=f"place {k % 3}") for k in range(count)]


def do_part(whole: Command, places: set[str], name: str = "one", **deaths: int) -> OwnJournal:
    return do_again(whole, places, Policy(), OwnJournal(path_of(whole, name), deaths=deaths))


def path_of(whole: Command, name: str = "one") -> Path:
    return SharedFolder(whole.root, "run").journal(name)


def do_again(
    whole: Command, places: set[str], policy: Policy, journal: OwnJournal | None = None
) -> OwnJournal:
    journal = journal or OwnJournal(path_of(whole))
    journal.name = journal.path.stem
    with journal:
        PlaceEngine(whole, Silence(), policy, journal, frozenset(places)).run()
    return journal


def together(whole: Command) -> Gathered:
    return gather(whole, SharedFolder(whole.root, "run"))


def test_parts_give_the_results_of_one_process(tmp_path: Path) -> None:
    job, alone, shared_out = Job(failing={"number 4": user_error()}), Tables(), Tables()
    one, several = tmp_path / "one", tmp_path / "several"
    run_command(command(one, placed(one, 7), job, alone))
    whole = command(several, placed(several, 7), job, shared_out)
    do_part(whole, {"place 1"}, "1-of-2")
    found = together(whole)
    assert set(found.waiting) == {"number 0", "number 2", "number 3", "number 5", "number 6"}
    assert shared_out.written[-1] == ("incomplete", [1, None], [])
    do_part(whole, {"place 0", "place 2"}, "2-of-2")
    found = together(whole)
    assert (found.waiting, found.exit_code) == ((), 1)
    assert shared_out.written[-1][1:] == alone.written[-1][1:]
    assert [ended.status for ended in found.outcome.results] == ["done"] * 4 + ["failed"] + [
        "done"
    ] * 2
    assert job.done.count("number 1") == 2  # by the one, and by one of the parts


def test_gathering_runs_no_task_of_a_place(tmp_path: Path) -> None:
    job = Job()
    whole = command(tmp_path, placed(tmp_path, 3), job, Tables())
    assert len(together(whole).waiting) == 3
    assert job.done == []


def test_a_task_that_needs_all_places_is_done_once_by_gathering(
    tmp_path: Path,
) -> None:
    job, tasks = Job(), placed(tmp_path, 3)
    names = tuple(task.name for task in tasks)
    last = number_task(tmp_path, 9, needs=names, is_step=True)
    after = number_task(tmp_path, 10, place="place 0", needs=(last.name,))
    kind = replace(last.kind, follow=lambda task, content, desk: [after])
    whole = command(tmp_path, [*tasks, replace(last, kind=kind)], job, Tables())
    do_part(whole, {"place 0"})
    assert together(whole).waiting == ("number 1", "number 2", "number 9")
    do_part(whole, {"place 1", "place 2"})
    assert "number 9" not in job.done
    assert together(whole).waiting == ("number 10",)  # after the step, which was done here
    do_part(whole, {"place 0"})
    assert together(whole).waiting == ()
    assert job.done == ["number 0", "number 1", "number 2", "number 9", "number 10"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_task_that_was_done_and_fails_when_it_is_redone_has_failed(
    tmp_path: Path, overwrite: bool
) -> None:
    job, tables = Job(), Tables()
    whole = command(tmp_path, placed(tmp_path, 2), job, tables)
    do_part(whole, {"place 0", "place 1"})
    assert together(whole).exit_code == 0
    job.failing = {"number 1": user_error()}
    if not overwrite:
        (tmp_path / "1.json").unlink()
    do_again(whole, {"place 0", "place 1"}, Policy(overwrite=overwrite))
    found = together(whole)
    assert [ended.status for ended in found.outcome.results] == ["done", "failed"]
    assert (found.exit_code, found.waiting, tables.written[-1][0]) == (1, (), "incomplete")
    job.failing = {}
    do_part(whole, {"place 0", "place 1"})
    assert together(whole).exit_code == 0


def test_overwriting_does_not_redo_what_a_process_that_died_has_redone(tmp_path: Path) -> None:
    job = Job()
    whole = command(tmp_path, placed(tmp_path, 3), job, Tables())
    everything = {"place 0", "place 1", "place 2"}
    do_part(whole, everything)
    job.done.clear()
    journal = OwnJournal(path_of(whole, "two"), done=done_in(path_of(whole)) - {"number 2"})
    do_again(whole, everything, Policy(overwrite=True), journal)
    assert job.done == ["number 2"]


def test_what_gathering_has_done_is_not_called_skipped_by_the_next_gathering(
    tmp_path: Path,
) -> None:
    tasks = placed(tmp_path, 2)
    last = number_task(tmp_path, 9, needs=tuple(task.name for task in tasks))
    whole = command(tmp_path, [*tasks, last], Job(), Tables())
    do_part(whole, {"place 0", "place 1"})
    for _ in range(2):
        results = together(whole).outcome.results
        assert [ended.status for ended in results] == ["done"] * 3


def test_a_task_that_killed_three_processes_is_failed_by_name_and_others_are_done(
    tmp_path: Path,
) -> None:
    job = Job()
    whole = command(tmp_path, placed(tmp_path, 6), job, Tables())
    do_part(whole, {"place 0", "place 1"}, **{"number 1": MOST_DEATHS, "number 3": MOST_DEATHS - 1})
    assert job.done == ["number 0", "number 3", "number 4"]
    (failure,) = together(whole).outcome.failures
    assert failure.name == "number 1"
    assert "the process that worked on it died 3 times" in failure.message


def test_suspects_are_prepared_one_by_one(tmp_path: Path) -> None:
    job = Job()
    tasks = [number_task(tmp_path, k, place="place 0", batch="all") for k in range(4)]
    whole = command(tmp_path, tasks, job, Tables())
    do_part(whole, {"place 0"}, **{"number 1": 1, "number 2": 1})
    assert job.prepared == [["number 0", "number 3"], ["number 1"], ["number 2"]]


class Killed(BaseException):
    """Stands for SIGKILL: nothing hears it."""


def test_a_killed_process_blames_its_task_and_a_stopped_one_does_not(
    tmp_path: Path,
) -> None:
    job = Job(failing={"number 1": Killed()})
    whole = command(tmp_path, placed(tmp_path, 2), job, Tables())
    path = SharedFolder(tmp_path, "run").journal("one")
    with pytest.raises(Killed):
        do_part(whole, {"place 0", "place 1"})
    assert read_journal(path).begun == ("number 1",)
    assert read_journal(path).deaths == {"number 1": 1}
    job.failing = {"number 1": Stopped(signal.SIGTERM)}
    with pytest.raises(Stopped):
        do_part(whole, {"place 0", "place 1"}, **read_journal(path).deaths)
    assert read_journal(path).deaths == {"number 1": 1}


def test_a_task_finished_by_a_process_killed_before_its_line_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, shared_out = Job(), Tables()
    whole = command(tmp_path, placed(tmp_path, 3), job, shared_out)
    path = SharedFolder(tmp_path, "run").journal("one")
    append = OwnJournal.append

    def killed_at(journal: OwnJournal, ended: Ended) -> None:
        if ended.name == "number 1":
            raise Killed
        append(journal, ended)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(OwnJournal, "append", killed_at)
        do_part(whole, {"place 0", "place 1"})
    deaths = read_journal(path).deaths
    assert deaths == {"number 1": 1}
    do_part(whole, {"place 0", "place 1", "place 2"}, "two", **deaths)
    assert job.done == ["number 0", "number 1", "number 2"]
    assert read_journal(SharedFolder(tmp_path, "run").journal("two")).deaths == deaths
    assert together(whole).waiting == ()
    assert shared_out.written[-1] == ("complete", [0, 1, 2], [])


def fill_memory(task: Task, desk: Desk) -> Content:
    if desk.job > 2:
        raise MemoryError
    return {"batch": desk.job}


@pytest.mark.parametrize(("least", "status"), [(1, "done"), (4, "failed")])
@pytest.mark.slow
def test_a_task_out_of_memory_is_tried_again_with_half_the_batch(
    tmp_path: Path, least: int, status: str
) -> None:
    tasks = [
        number_task(tmp_path, number, kind=Kind(fill_memory), place="place 0")
        for number in range(2)
    ]
    tables = Tables()
    whole = replace(command(tmp_path, tasks, Job(), tables), job=8)
    whole = replace(whole, smaller=lambda size: size // 2 if size > least else None)
    for ended in do_part(whole, {"place 0"}).results():
        assert ended.status == status
        assert status == "failed" or ended.content == {"batch": 2}
    together(whole)
    said = {note.split(";")[0] for note in tables.written[-1][2]}
    # Of one that fails all the same, the batch is halved once: the next finds it as it is.
    assert said == {"one: number 0: out of memory"}


def fill_disk(task: Task, desk: Desk) -> Content:
    raise OutputError("cannot write here", hint="choose another") from OSError(errno.ENOSPC, "full")


def test_a_full_disk_is_no_fault_of_the_task(tmp_path: Path) -> None:
    task = number_task(tmp_path, 0, kind=Kind(fill_disk), place="place 0")
    whole = command(tmp_path, [task], Job(), Tables())
    with pytest.raises(OutputError, match="cannot write any more"):
        do_part(whole, {"place 0"})
    read = read_journal(SharedFolder(tmp_path, "run").journal("one"))
    assert (read.num_done, read.begun, read.state) == (0, (), "disk full")
    assert together(whole).waiting == ("number 0",)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EDQUOT, "quota"), RuntimeError("I/O error: No space left (os error 28)")],
)
def test_a_full_disk_is_recognised_by_its_error_number(error: Exception) -> None:
    assert full_disk(error) is not None
    assert full_disk(OSError(errno.EACCES, "denied")) is None


def test_a_task_that_needs_another_part_waits_for_it(tmp_path: Path) -> None:
    first = number_task(tmp_path, 0, place="place 0")
    second = number_task(tmp_path, 1, place="place 1", needs=(first.name,))
    third = number_task(tmp_path, 2, place="place 1", needs=(second.name,))
    whole = command(tmp_path, [first, second, third], Job(), Tables())
    assert list(do_part(whole, {"place 1"}).results()) == []
    do_part(whole, {"place 0"})
    assert [one.name for one in do_part(whole, {"place 1"}).results()] == ["number 1", "number 2"]


def test_only_parts_of_one_division_may_share_a_folder(tmp_path: Path) -> None:
    with shared(tmp_path, "run-1-of-2", "-of-2"):
        with shared(tmp_path, "run-2-of-2", "-of-2"):
            pass
        for name, whole in (("run-1-of-2", "-of-2"), ("run-1-of-3", "-of-3")):
            with pytest.raises(OutputError, match="is working on this folder"):
                _hold_elsewhere(tmp_path, name, whole)
        with pytest.raises(OutputError, match="is working on this folder"), locked(tmp_path):
            pass
    with locked(tmp_path), pytest.raises(OutputError, match="is working on this folder"):
        _hold_elsewhere(tmp_path, "run-1-of-2", "-of-2")
    assert list((tmp_path / SHARED).iterdir()) == []


def _hold_elsewhere(root: Path, name: str, whole: str) -> None:
    """Hold a part as another process of this host would: the system's lock tells them apart."""
    with shared(root, name, whole):
        pass


def test_a_lock_of_another_host_counts_until_it_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / SHARED / "run-1-of-2"
    path.parent.mkdir(parents=True)
    theirs = {"host": "elsewhere", "pid": 1, "job": "7", "restart": 0}
    path.write_text(json.dumps(theirs))
    with pytest.raises(OutputError, match="process 1 on elsewhere"):
        _hold_elsewhere(tmp_path, "run-1-of-2", "-of-2")
    assert Holder(**theirs).may_be_alive(STALE_S - 1)
    assert not Holder(**theirs).may_be_alive(STALE_S + 1)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    _hold_elsewhere(tmp_path, "run-1-of-2", "-of-2")  # the same job, requeued to this host
    path.write_text(json.dumps({**theirs, "job": ""}))
    os.utime(path, (0, 0))
    _hold_elsewhere(tmp_path, "run-1-of-2", "-of-2")


class NumberTold(Told):
    number: int


def test_a_record_is_believed_over_a_malformed_line_of_a_journal(
    tmp_path: Path,
) -> None:
    task = number_task(tmp_path, 0, place="place 0")
    task = replace(task, kind=replace(task.kind, told=NumberTold))
    tables = Tables()
    whole = command(tmp_path, [task], Job(), tables)
    do_part(whole, {"place 0"})
    (path,) = SharedFolder(tmp_path, "run").journals
    path.write_text(path.read_text().replace('"number": 0', '"number": "none"'))
    assert [ended.status for ended in together(whole).outcome.results] == ["skipped"]
    assert tables.written[-1][1] == [0]


def test_a_step_without_a_record_is_not_waited_for(tmp_path: Path) -> None:
    step = number_task(tmp_path, 0, place="place 0", is_step=True, record=None)
    whole = command(tmp_path, [step, number_task(tmp_path, 1, place="place 0")], Job(), Tables())
    found = together(whole)
    assert (found.waiting, found.num_to_come) == (("number 1",), 1)


def test_a_journal_with_a_torn_head_lists_no_process(tmp_path: Path) -> None:
    whole = command(tmp_path, placed(tmp_path, 1), Job(), Tables())
    do_part(whole, {"place 0"})
    folder = SharedFolder(tmp_path, "run")
    folder.journal("torn").write_text('{"process": "part 2/2", "ho')
    together(whole)
    (line,) = (folder.path / "processes.jsonl").read_text().splitlines()
    assert json.loads(line)["process"] == "one"
