"""What killed parts were writing is removed by `esegeta gather`, once nobody is at work."""

import json
from pathlib import Path

import pytest

from esegeta.workflow.lock import SHARED, held
from esegeta.workflow.spread.folder import SharedFolder
from tests.experiments import Lab, esegeta, unet_lab
from tests.temporaries import dead_temporary
from tests.workflow.dissect.planted import noisy_lab

pytestmark = pytest.mark.usefixtures("quick")


def part(lab: Lab, command: str = "run") -> None:
    result = esegeta(command, lab.write(), "--part", "1/1")
    assert result.exit_code == 0, result.output


def small_lab(folder: Path) -> Lab:
    return unet_lab(folder, cases=1, shape=(8, 8, 8))


@pytest.mark.slow
def test_what_a_killed_part_of_an_analysis_was_writing_is_removed(tmp_path: Path) -> None:
    lab = noisy_lab(tmp_path, cases=2, shape=(8, 8, 8))
    left = dead_temporary(lab.root / "dissection")
    part(lab, "dissect")
    assert left.is_file()  # other parts may be writing there
    esegeta("gather", lab.root)
    assert not left.exists()


def test_nothing_is_removed_while_a_part_is_at_work(tmp_path: Path) -> None:
    lab = small_lab(tmp_path)
    part(lab)
    left = dead_temporary(lab.root / "scores")
    with held(lab.root / SHARED / "run-2-of-2"):
        assert esegeta("gather", lab.root).exit_code == 0
    assert left.is_file()
    assert esegeta("gather", lab.root).exit_code == 0
    assert not left.exists()


def test_files_of_another_host_are_removed_if_a_part_ran_there(tmp_path: Path) -> None:
    """Of another host nobody can ask who is alive; the part was begun again here since."""
    lab = small_lab(tmp_path)
    part(lab)
    journal = SharedFolder(lab.root, "run").journal("part-1-of-1")
    head, *lines = journal.read_text().splitlines(keepends=True)
    theirs = {**json.loads(head), "host": "elsewhere", "pid": 7}
    journal.write_text("".join([json.dumps(theirs) + "\n", *lines]))
    known, unknown = (lab.root / f".tmp-elsewhere-{pid}-x.csv" for pid in (7, 8))
    known.touch()
    unknown.touch()
    part(lab)
    assert known.is_file()
    assert esegeta("gather", lab.root).exit_code == 0
    assert not known.exists() and unknown.is_file()
