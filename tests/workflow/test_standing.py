"""What records of all commands say alike, in the order in which they say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta.workflow.command import RUNNING, CommandState
from esegeta.workflow.standing import EarlierNotes, Stopwatch, TaskRecord, sha256_by_path
from esegeta.workflow.task import Desk, Ended, Silence, Status
from tests.experiments import read_json
from tests.workflow.tasks import Job, number_task


def test_counts_stand_between_state_and_time() -> None:
    standing = Stopwatch().standing(RUNNING, ("one",), num_tasks=3)
    assert list(standing) == ["notes", "state", "num_tasks", "seconds"]
    assert standing["notes"] == ["one"] and 0 <= standing["seconds"] < 60


def test_a_record_begins_with_its_head_and_ends_with_its_tasks(tmp_path: Path) -> None:
    path = tmp_path / "examples.json"
    record = TaskRecord(path, {"seed": 3})
    for count in (1, 2):  # whole each time
        record.write(RUNNING, ["a note"], ({"task": n} for n in range(count)), ranks=[1])
    found = read_json(path)
    assert list(found) == ["seed", "notes", "state", "seconds", "ranks", "units"]
    assert found["units"] == [{"task": 0}, {"task": 1}]


@pytest.mark.parametrize(
    ("statuses", "notes"),
    [
        (("skipped", "skipped"), ["3 % of it"]),
        (("skipped", "done"), []),
        (("failed", "skipped"), []),
        ((), []),
    ],
)
def test_notes_are_repeated_where_nothing_was_left_to_do(
    statuses: tuple[Status, ...], notes: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "retrain.json"
    TaskRecord(path, {}).write(CommandState("complete"), ["3 % of it"], ())
    earlier, desk = EarlierNotes(path), Desk(Job(), Silence())
    TaskRecord(path, {}).write(RUNNING, [], ())
    results = [Ended(number_task(tmp_path, n), status) for n, status in enumerate(statuses)]
    earlier.repeat(results, desk)
    assert desk.notes == notes


def test_there_may_have_been_no_earlier_run(tmp_path: Path) -> None:
    desk = Desk(Job(), Silence())
    EarlierNotes(tmp_path / "none.json").repeat([Ended(number_task(tmp_path, 1), "skipped")], desk)
    assert desk.notes == []


def test_files_of_all_cases_stand_side_by_side() -> None:
    assert sha256_by_path({"a": {"x": "1", "y": "2"}, "b": {"z": "3"}}) == {
        "x": "1",
        "y": "2",
        "z": "3",
    }
