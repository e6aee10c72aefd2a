"""How a command stands by its files: what was finished before counts, another config's does not."""

import json
import os
import platform
from contextlib import nullcontext
from pathlib import Path

import pytest

from esegeta.errors import OutputError
from esegeta.plain_json import json_sha256
from esegeta.workflow.command import Command, Policy
from esegeta.workflow.lock import shared
from esegeta.workflow.spread.folder import SharedFolder
from esegeta.workflow.spread.gather import gather
from esegeta.workflow.spread.origin import Origin
from esegeta.workflow.spread.own_journal import OwnJournal, lines_of
from esegeta.workflow.spread.status import Standing, keep_expected, standings_of
from esegeta.workflow.spread.worker import PlaceEngine
from esegeta.workflow.task import Ended, Silence
from tests.experiments import esegeta
from tests.workflow.tasks import Job, Tables, command, number_task, user_error

PLACES = frozenset({"a", "b"})


def study(root: Path) -> tuple[Command, SharedFolder, Origin]:
    """Return a command of three tasks at two places, and where it was started from."""
    tasks = [number_task(root, number, place="ab"[number % 2]) for number in range(3)]
    whole = command(root, tasks, Job(), Tables())
    folder = SharedFolder(root, "run")
    origin = Origin("run", str(root / "c.yaml"), output=str(root.parent))
    folder.path.mkdir(parents=True)
    origin.save(folder)
    keep_expected(folder, whole)
    return whole, folder, origin


def do(whole: Command, folder: SharedFolder, origin: Origin, places: frozenset[str]) -> None:
    name = "-".join(sorted(places))
    with OwnJournal(folder.journal(name), name=name, origin=origin.sha256) as journal:
        PlaceEngine(whole, Silence(), Policy(), journal, places).run()


def standing(root: Path) -> Standing:
    (found,) = standings_of(root)
    return found


def test_tasks_finished_by_earlier_runs_count_as_done(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, frozenset("a"))
    assert (standing(whole.root).done, standing(whole.root).waiting) == (2, 1)
    gather(whole, folder)
    for path in folder.journals:  # as a controller does that takes the run up again
        path.unlink()
    assert (standing(whole.root).done, standing(whole.root).waiting) == (2, 1)
    do(whole, folder, origin, frozenset("b"))
    assert (standing(whole.root).done, standing(whole.root).waiting) == (3, 0)


def test_tasks_of_another_config_do_not_count_as_done(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, PLACES)
    gather(whole, folder)
    assert standing(whole.root).done == 3
    changed = Origin("run", origin.config, ("seed=1",), output=origin.output)
    changed.save(folder)
    assert (standing(whole.root).done, standing(whole.root).waiting) == (0, 3)
    do(whole, folder, changed, frozenset("a"))
    assert standing(whole.root).done == 2


def test_nothing_counts_where_all_parts_start_again_with_another_config(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    for place in "ab":
        do(whole, folder, origin, frozenset(place))
    gather(whole, folder)
    changed = Origin("run", origin.config, ("seed=1",), output=origin.output)
    changed.save(folder)
    for place in "ab":
        path = folder.journal(place)
        with OwnJournal(path, name=place, origin=changed.sha256) as journal:
            journal.begin([])
    assert (standing(whole.root).done, standing(whole.root).waiting) == (0, 3)


def test_a_failure_since_the_last_gathering_counts(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, PLACES)
    gather(whole, folder)
    whole.job.failing = {"number 1": user_error()}
    (whole.root / "1.json").unlink()
    do(whole, folder, origin, PLACES)
    found = standing(whole.root)
    assert (found.done, [one.task for one in found.failed]) == (2, ["number 1"])


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.jsonl", 5, None])
def test_only_a_journal_of_the_folder_is_read(name: object, tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, frozenset("a"))
    (folder.path / "expected.json").write_text(json.dumps({"num_tasks": 3, "journal": name}))
    assert standing(whole.root).done == 2


def test_a_failure_line_without_a_reason_is_ignored(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, frozenset("a"))
    path = folder.journals[0]
    told = next(line for line in lines_of(path) if "task" in line)
    told |= {"task": "number 1", "status": "failed"}
    head = {"process": "part", "host": "", "pid": 10**20}
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in (told, {**told, "fault": None}, head))
    assert standing(whole.root).failed == ()


def test_the_origin_of_a_moved_folder_is_refused(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    assert Origin.read(folder) == origin
    assert origin.sha256 == json_sha256(json.loads(folder.origin.read_text()))
    (tmp_path / "moved").mkdir()
    moved = whole.root.rename(tmp_path / "moved" / "out")
    with pytest.raises(OutputError, match="was started for"):
        Origin.read(SharedFolder(moved, "run"))


@pytest.mark.parametrize("change", [{"command": "nosuch"}, {"config": 5}, {"names": "x"}])
def test_an_invalid_origin_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    _, folder, _ = study(tmp_path / "out")
    folder.origin.write_text(json.dumps({**json.loads(folder.origin.read_text()), **change}))
    with pytest.raises(OutputError, match="cannot be read"):
        Origin.read(folder)


def test_a_task_counts_once_however_often_journals_name_it(tmp_path: Path) -> None:
    """What is done stays so; a name that is no text is one like any other."""
    whole, folder, origin = study(tmp_path / "out")
    do(whole, folder, origin, PLACES)
    (path,) = folder.journals
    line = next(line for line in lines_of(path) if "task" in line)
    fault = {"message": "it broke"}
    more = [
        {**line, "status": "failed", "fault": fault},  # after it was done
        {**line, "task": "bad \ud800", "status": "failed", "fault": fault},
        {**line, "task": "mended", "status": "failed", "fault": fault},
        {**line, "task": "mended"},
        {**line, "task": "a step", "step": True},
    ]
    with path.open("a") as stream:
        stream.writelines(json.dumps(one) + "\n" for one in more)
    found = standing(whole.root)
    assert (found.done, [one.task for one in found.failed]) == (4, ["bad \ud800"])
    gather(whole, folder)  # which asks for its own tasks alone
    assert standing(whole.root).done == 4


@pytest.mark.parametrize(
    ("host", "pid", "held", "is_running"),
    [
        (platform.node(), os.getpid(), False, True),
        (platform.node(), 2**22 + 1, True, False),
        ("elsewhere", 1, True, True),
        ("elsewhere", 1, False, False),
    ],
    ids=["here", "dead", "on another host", "on another host that has let go"],
)
def test_a_task_counts_as_running_while_its_process_may_be_alive(
    tmp_path: Path, host: str, pid: int, held: bool, is_running: bool
) -> None:
    whole, folder, origin = study(tmp_path / "out")
    path = folder.journal("part-1-of-2")
    with OwnJournal(path, name="part 1/2", origin=origin.sha256) as journal:
        journal.say("a note is no task")
        journal.begin([number_task(whole.root, number) for number in (0, 2)])
    head, *rest = path.read_text().splitlines()
    head = json.dumps({**json.loads(head), "host": host, "pid": pid, "gpu": "3", "log": ""})
    path.write_text("\n".join([head, *rest, ""]))
    with shared(whole.root, "run-1-of-2", "-of-2") if held else nullcontext():
        found = standing(whole.root)
        said = esegeta("status", whole.root).stdout
    assert [one.task for one in found.running] == ["number 0"] * is_running
    assert (found.done, found.waiting) == (0, 3 - is_running)
    assert (f"  running: number 0 for 0 s (part 1/2 on {host}, GPU 3)" in said) == is_running


def test_the_number_waiting_is_unknown_without_an_expected_number(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    (folder.path / "expected.json").write_text(json.dumps({"num_tasks": 0, "journal": None}))
    do(whole, folder, origin, frozenset("a"))
    assert standing(whole.root).waiting is None
    said = esegeta("status", whole.root).stdout
    assert "run: 2 done, 0 running, 0 failed, an unknown number waiting" in said


def test_status_does_not_count_steps(tmp_path: Path) -> None:
    whole, folder, origin = study(tmp_path / "out")
    with OwnJournal(folder.journal("one"), name="one", origin=origin.sha256) as journal:
        journal.append(Ended(number_task(whole.root, 5, is_step=True), "done"))
        journal.append(Ended(number_task(whole.root, 0), "done"))
    assert (standing(whole.root).done, standing(whole.root).waiting) == (1, 2)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = esegeta("status", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert f"{tmp_path / 'nowhere'}: no such folder; give the folder" in result.stderr
