"""What a sidecar says of its files: what is cut, emptied or changed since no longer counts."""

import os
from pathlib import Path

import pytest

from esegeta.report.contents import CONTENTS, contents_of, is_intact


@pytest.fixture
def sidecar(tmp_path: Path) -> tuple[Path, dict[str, object]]:
    (tmp_path / "a.nii.gz").write_bytes(b"voxels of a map")
    content = {CONTENTS: contents_of([tmp_path / "a.nii.gz"], tmp_path / "a.json")}
    path = tmp_path / "a.json"
    path.write_text("{}")
    return path, content


def test_contents_hold_lengths_and_hashes_of_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / ".tmp-b").write_bytes(b"")
    found = contents_of([tmp_path / "a"], tmp_path / "a.json", b=tmp_path / ".tmp-b")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found["a"] == {"bytes": 3, "sha256": sha256}
    assert found["b"]["bytes"] == 0


CHANGES = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path: path.write_bytes(b""),
    "removed": lambda path: path.unlink(),
    "changed": lambda path: path.write_bytes(b"VOXELS of a map"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_found(change: str, sidecar: tuple[Path, dict[str, object]]) -> None:
    path, content = sidecar
    assert is_intact(path, content)
    assert is_intact(path, content, "whole")
    image = path.parent / "a.nii.gz"
    CHANGES[change](image)
    if image.exists():
        os.utime(image, (path.stat().st_atime + 5, path.stat().st_mtime + 5))
    assert not is_intact(path, content)


def test_a_changed_file_with_an_old_time_is_found_by_reading_it(
    sidecar: tuple[Path, dict[str, object]],
) -> None:
    path, content = sidecar
    image = path.parent / "a.nii.gz"
    image.write_bytes(b"VOXELS of a map")
    os.utime(image, (1, 1))
    assert is_intact(path, content)
    assert not is_intact(path, content, "whole")


def test_malformed_contents_are_not_trusted(sidecar: tuple[Path, dict[str, object]]) -> None:
    path, _ = sidecar
    for foreign in ([], 3, {"a.nii.gz": 3}, {"a.nii.gz": {}}, {"../a.json": {"bytes": 1}}):
        assert not is_intact(path, {CONTENTS: foreign})
