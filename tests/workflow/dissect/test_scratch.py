"""What is kept to be made but once: read as it was written, or made anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from esegeta.errors import DiskFullError, OutputError
from esegeta.workflow import cache
from esegeta.workflow.dissect.scratch import keep_scratch, read_scratch

KEPT = {
    "maps": torch.randn(3, 5, 7),
    "body": torch.rand(13) > 0.5,
    "number": torch.tensor(3, dtype=torch.int32),
}


def test_a_scratch_file_is_read_as_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.safetensors"
    keep_scratch(path, "key", KEPT)
    found = read_scratch(path, "key")
    assert found is not None and found.keys() == KEPT.keys()
    assert all(torch.equal(found[name], value) for name, value in KEPT.items())
    assert read_scratch(path, "another key") is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("lost", [1, 9, 200])
def test_a_truncated_scratch_file_counts_as_missing(tmp_path: Path, lost: int) -> None:
    """After a loss of power its length may be right, and its last bytes zero."""
    path = tmp_path / "a.safetensors"
    keep_scratch(path, "key", {"x": torch.ones(100, dtype=torch.uint8), "y": torch.ones(99)})
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost] + bytes(lost))
    assert read_scratch(path, "key") is None
    path.write_bytes(whole[:-lost])
    assert read_scratch(path, "key") is None


def test_an_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write here"):
        keep_scratch(tmp_path / "file" / "a.safetensors", "key", KEPT)


def test_a_full_disk_is_recognised_in_an_error_of_safetensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(cache, "save_file", full)
    with pytest.raises(DiskFullError, match="No space left"):
        keep_scratch(tmp_path / "a.safetensors", "key", {"x": torch.zeros(3)})
    assert not list(tmp_path.iterdir())
