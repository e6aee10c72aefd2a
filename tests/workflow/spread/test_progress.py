"""What workers do, as it is read from their journals while they write."""

from pathlib import Path

from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.own_journal import OwnJournal
from esegeta.workflow.spread.progress import Tail, ToldOnce
from esegeta.workflow.task import Ended, Silence
from tests.workflow.tasks import number_task


def test_a_workers_task_is_reported_once_when_its_line_is_complete(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, "run")
    tail = Tail(folder)
    with OwnJournal(folder.journal("worker-1"), name="worker 1") as journal:
        journal.append(Ended(number_task(tmp_path, 0), "done"))
        journal.append(Ended(number_task(tmp_path, 1, is_step=True), "done"))
    assert [(ended.name, ended.status) for ended in tail.ended()] == [("number 0", "done")]
    line = folder.journal("worker-1").read_bytes().splitlines(keepends=True)[1]
    half = line.replace(b"number 0", b"number 2")
    with folder.journal("worker-1").open("ab", buffering=0) as file:
        file.write(b"nobody writes this\n" + half[:20])
        assert list(tail.ended()) == []
        file.write(half[20:])
        assert [ended.name for ended in tail.ended()] == ["number 2"]
    assert list(tail.ended()) == []


class Heard(Silence):
    def __init__(self) -> None:
        self.ended: list[tuple[str, str]] = []

    def end(self, ended: Ended) -> None:
        self.ended.append((ended.name, ended.status))


def test_a_task_that_others_skip_is_reported_once(tmp_path: Path) -> None:
    heard = Heard()
    once = ToldOnce(heard)
    for number, status in ((0, "skipped"), (1, "done"), (0, "skipped"), (1, "skipped")):
        once.end(Ended(number_task(tmp_path, number), status))
    assert heard.ended == [("number 0", "skipped"), ("number 1", "done")]


def test_tasks_of_parts_are_not_reported_as_those_of_workers(tmp_path: Path) -> None:
    folder = SharedFolder(tmp_path, "run")
    with OwnJournal(folder.journal("part-1-of-2"), name="part 1/2") as journal:
        journal.append(Ended(number_task(tmp_path, 0), "done"))
    assert list(Tail(folder).ended()) == []
