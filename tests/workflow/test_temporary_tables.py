"""What grows with the tasks of a study lies outside of memory, in order."""

import random
from pathlib import Path

import pytest

from esegeta.errors import DiskFullError
from esegeta.report.csv_tables import SCORE_COLUMNS, write_csv
from esegeta.workflow.ended_tasks import EndedTasks
from esegeta.workflow.rows_before import RowsBefore
from esegeta.workflow.task import Ended
from esegeta.workflow.temporary_tables import TemporaryTables
from tests.workflow.tasks import NUMBER, number_task


def test_results_come_in_the_order_of_tables_and_steps_as_they_ended(tmp_path: Path) -> None:
    orders = [(0,), (0, -1), (0, 0), (0, 255, 3), (0, 256), (1, 2**40), (2, 0), (10, 0)]
    tasks = [number_task(tmp_path, k, order=order) for k, order in enumerate(orders)]
    shuffled = random.Random(0).sample(tasks, len(tasks))
    steps = [number_task(tmp_path, 20 - k, is_step=True, order=(9 - k,)) for k in range(3)]
    ended = EndedTasks()
    for task in (*shuffled[:4], *steps, *shuffled[4:]):
        ended.append(Ended(task, "done", seconds=0.1, content={"number": 1 / 3}))
    expected = [task for _, task in sorted(zip(orders, tasks, strict=True), key=lambda p: p[0])]
    assert [one.task for one in ended.results] == expected
    assert [one.task for one in ended.steps] == steps
    assert (len(ended.results), len(ended.steps)) == (8, 3)
    first = ended.results[0]
    assert (first.content, first.seconds) == ({"number": 1 / 3}, 0.1)
    assert first.task.kind is NUMBER  # and no copy of it
    assert [ended.results[-1].task, ended.results[-8].task] == [expected[-1], expected[0]]
    assert [one.task for one in ended.results[2:4]] == expected[2:4]
    for place in (8, -9):
        with pytest.raises(IndexError, match="8 tasks have ended"):
            ended.results[place]
    ended.clear()
    assert not ended.results and not ended.steps


def test_tasks_of_one_place_stay_in_the_order_in_which_they_ended(tmp_path: Path) -> None:
    ended = EndedTasks()
    for number in (3, 1, 2):
        ended.append(Ended(number_task(tmp_path, number, order=()), "done"))
    assert [one.name for one in ended.results] == ["number 3", "number 1", "number 2"]


def test_a_full_folder_of_temporary_files_is_reported(tmp_path: Path) -> None:
    tables = TemporaryTables("CREATE TABLE some (text TEXT); PRAGMA max_page_count = 9;")
    num_taken = 0
    with pytest.raises(DiskFullError, match="folder of temporary files takes no more") as told:
        for _ in range(100):
            tables.run("INSERT INTO some VALUES (?)", ("x" * 1000,))
            num_taken += 1
    assert "SQLITE_TMPDIR" in told.value.hint
    # What was taken before is told all the same: it goes into the last tables.
    assert (
        [len(text) for (text,) in tables.rows("SELECT text FROM some")] == [1000] * num_taken > []
    )


def test_rows_of_an_earlier_run_stay_until_their_task_has_ended(tmp_path: Path) -> None:
    rows = [(case, "=liver", "grad", "deletion", 0.1, "lower") for case in "ab"]
    write_csv(tmp_path / "scores.csv", SCORE_COLUMNS, rows)
    (tmp_path / "predictions.csv").write_text("other,columns\n1,2\n")
    before = RowsBefore(tmp_path)
    kept = {name: list(rows) for name, rows in before.without([]).items()}
    assert kept == {
        "scores.csv": [[case, "'=liver", "grad", "deletion", "0.1", "lower"] for case in "ab"]
    }
    left = before.without([("a", "=liver", "grad"), ("b",)])["scores.csv"]
    assert [row[0] for row in left] == ["b"]
    assert before.without([(case, "=liver", "grad") for case in "ab"]) == {}
    again = before.without([])["scores.csv"]
    assert [row[0] for row in again] == ["a", "b"]
