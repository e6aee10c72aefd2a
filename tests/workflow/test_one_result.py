"""Commands of one result: a result that is there, or cannot be had, is all that is listed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from esegeta.volume import write_json
from esegeta.workflow.build import Basis
from esegeta.workflow.cache import keep_json
from esegeta.workflow.one_result import discard, list_missing, list_parts
from esegeta.workflow.task import Desk, Fault, Silence, Task
from tests.workflow.tasks import Job, number_task


@dataclass
class Counter(Silence):
    """Adds up how many tasks are expected."""

    expected: int = 0

    def expect(self, tasks: int) -> None:
        self.expected += tasks


def two_parts(desk: Desk) -> Iterator[Task]:
    desk.listener.expect(2)
    yield from (number_task(Path(), number) for number in (1, 2))


@pytest.mark.parametrize(
    ("state", "missing", "anew"),
    [
        ("new", ["number 1", "number 2"], ["number 1", "number 2"]),
        ("there", ["number 0"], ["number 1", "number 2"]),
        ("impossible", ["number 0"], ["number 0"]),
    ],
)
def test_tasks_leading_to_a_result_are_listed_unless_it_exists(
    state: str, missing: list[str], anew: list[str], tmp_path: Path
) -> None:
    whole = number_task(tmp_path, 0, fault=Fault("no weights") if state == "impossible" else None)
    if state == "there":
        assert whole.record is not None and whole.key is not None
        keep_json(whole.record, whole.key, {"number": 0})
    basis = object.__new__(Basis)  # a network and cases are not looked at here
    vars(basis).update(root=tmp_path, config=SimpleNamespace(keys=SimpleNamespace(name="one")))
    for listed, names in ((list_missing, missing), (list_parts, anew)):
        counter = Counter()
        tasks = list(listed(Desk(Job(), counter), basis, whole, two_parts))
        assert [task.name for task in tasks] == names
        assert counter.expected == len(names)
        assert (tmp_path / "dataset_description.json").is_file()


def test_only_files_of_a_record_within_the_run_folder_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "concepts"
    (folder / "inner").mkdir(parents=True)
    own, beside, beyond = folder / "a.csv", tmp_path / "run" / "b.nii", tmp_path / "c.txt"
    for path in (own, beside, beyond):
        path.write_text("")
    names = ["a.csv", "gone.csv", "inner", ".", "../b.nii", "../../c.txt", str(beyond)]
    record = folder / "concepts.json"
    write_json(record, {"files": names})
    discard(record, folder)
    assert not record.exists() and not own.exists()
    assert beside.exists() and beyond.exists() and (folder / "inner").is_dir()
    write_json(record, {"files": names})
    discard(record, tmp_path / "run")
    assert not beside.exists() and beyond.exists()
