"""A disk that fills up: the run stops, what is finished counts, and the record says so."""

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import DiskFullError
from esegeta.workflow.journal import Journal
from tests.experiments import Lab, pointwise_lab, quick

__all__ = ["quick"]


def several(folder: Path) -> Lab:
    lab = pointwise_lab(folder, [[0.0], [1.0]], [0.0, 0.0])
    smooth = {"name": "smoothgrad", "samples": 1}
    lab.keys["methods"] = [{**smooth, "id": f"s{place}", "seed": place} for place in range(8)]
    return lab


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a disk that takes a map or two and their pictures."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=228k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("a small disk may not be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_run_on_a_disk_that_fills_up_stops_cleanly(
    quick: None, tmp_path: Path, small_disk: Path
) -> None:
    lab = several(tmp_path)
    lab.keys["output"] = str(small_disk / "out")
    result = lab.run()
    assert result.exit_code == 1
    assert "free disk space" in result.output
    assert "Traceback" not in result.output
    root = small_disk / "out" / "tiny"
    record = json.loads((root / "run.json").read_text())
    assert record["state"] == "stopped"
    ended = [unit["status"] for unit in record["units"]]
    assert ended[-1] == "failed"
    assert set(ended[:-1]) == {"done"}
    assert len(ended) < 8, "it went on for nothing"
    assert not list(small_disk.rglob(".tmp-*"))
    lab.keys["output"] = str(tmp_path / "out")
    assert lab.run().exit_code == 0


@pytest.mark.slow
def test_a_journal_that_finds_no_space(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map is there before its line: it counts as finished, here and in the next run."""
    lab = several(tmp_path)
    real = Journal.append

    def full(journal: Journal, ended: Any) -> None:
        if len(journal.results()) == 3:
            journal._file = _Full(journal._file)  # type: ignore[assignment]
        real(journal, ended)

    monkeypatch.setattr(Journal, "append", full)
    result = lab.run()
    monkeypatch.setattr(Journal, "append", real)
    assert "free disk space" in result.output
    assert lab.record()["state"] == "stopped"
    assert result.exit_code == 1
    assert lab.run().exit_code == 0
    assert list(lab.statuses().values()).count("skipped") == 4


class _Full:
    """A file on a disk without space.

    Args:
        file: the file.
    """

    def __init__(self, file: Any) -> None:
        self.close = file.close

    def write(self, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP], ids=["full", "not offered"])
def test_preallocation_reports_a_full_disk_and_is_otherwise_optional(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is an error; a file system without preallocation is used without it."""

    def posix_fallocate(handle: int, start: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)
    journal = Journal(tmp_path / "journal.jsonl")
    if number == errno.ENOSPC:
        # A file that stays open is told of by Python, which counts as an error here.
        with pytest.raises(DiskFullError, match="No space"), journal:
            raise AssertionError("it is entered without its reserve")
    else:
        with journal:
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["journal.jsonl"]
