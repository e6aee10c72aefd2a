"""Patterns that lead nowhere: into folders of the system, and through whole disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from esegeta.config.globbing import find_all, natural_order, system_folder
from esegeta.errors import DataError
from tests.config.folders import touch


def test_a_pattern_that_matches_in_too_many_folders_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, ["a/x.nii", "b/x.nii", ".hidden/x.nii"])
    monkeypatch.setattr("esegeta.config.globbing.MOST_FOLDERS", 3)
    assert find_all("**/x.nii", tmp_path) == [tmp_path / name / "x.nii" for name in "ab"]
    touch(tmp_path, ["c/x.nii"])
    with pytest.raises(DataError, match="matches in more than 3 folders; start it with the folder"):
        find_all("**/x.nii", tmp_path)


@pytest.mark.parametrize(
    ("path", "system"), [("/dev/shm/data", ""), ("/dev/x", "/dev"), ("/proc/1/fd", "/proc")]
)
def test_system_folders_are_recognised_except_shared_memory(path: str, system: str) -> None:
    assert system_folder(Path(path)) == system


def test_numbers_in_names_are_in_their_order() -> None:
    names = ["step_900", "step_1000", "step_1000b", "Step_2", "10", "9", ""]
    found = sorted(names, key=natural_order)
    assert found == ["", "9", "10", "Step_2", "step_900", "step_1000", "step_1000b"]
