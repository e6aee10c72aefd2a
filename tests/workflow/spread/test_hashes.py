"""Hashes of files that processes tell each other."""

import hashlib
import os
from pathlib import Path

import pytest

from esegeta.model import file_hash, file_sha256, hashes_kept_in
from esegeta.workflow.spread.hashes import HashFolder

OLD = 1_000_000_000_000_000_000


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.nii"
    path.write_bytes(b"voxels")
    os.utime(path, ns=(OLD, OLD))
    return path


def opened(tmp_path: Path, name: str) -> HashFolder:
    file_hash._sha256.cache_clear()  # another process
    return HashFolder(tmp_path / "hashes", name)


def test_a_file_hashed_by_one_process_is_not_read_by_another(tmp_path: Path, image: Path) -> None:
    book = opened(tmp_path, "first")
    with hashes_kept_in(book):
        known = file_sha256(image)
    book.close()
    assert known == hashlib.sha256(b"voxels").hexdigest()
    image.write_bytes(b"xxxxxx")  # unseen: size and time are the same
    os.utime(image, ns=(OLD, OLD))
    with hashes_kept_in(opened(tmp_path, "second")):
        assert file_sha256(image) == known


@pytest.mark.parametrize("line", ["[", "[1]", '{"sha256": 5}', '{"task": "a"}', '{"path": "a"}'])
def test_malformed_lines_are_ignored(tmp_path: Path, image: Path, line: str) -> None:
    (tmp_path / "hashes").mkdir()
    (tmp_path / "hashes" / "first.jsonl").write_text(f"{line}\n")
    book = opened(tmp_path, "second")
    with hashes_kept_in(book):
        assert file_sha256(image) == hashlib.sha256(b"voxels").hexdigest()
    book.close()


@pytest.mark.parametrize("change", ["size", "time"])
def test_a_file_that_has_changed_is_read_again(tmp_path: Path, image: Path, change: str) -> None:
    book = opened(tmp_path, "first")
    with hashes_kept_in(book):
        file_sha256(image)
    image.write_bytes(b"others" if change == "time" else b"more voxels")
    os.utime(image, ns=(OLD, OLD + (change == "time")))
    book.close()
    book = opened(tmp_path, "second")
    with hashes_kept_in(book):
        assert file_sha256(image) == hashlib.sha256(image.read_bytes()).hexdigest()
    book.close()


def test_the_hash_of_a_file_written_just_now_is_not_kept(tmp_path: Path, image: Path) -> None:
    os.utime(image)
    book = opened(tmp_path, "first")
    with hashes_kept_in(book):
        file_sha256(image)
    assert not (tmp_path / "hashes").exists()


def test_a_process_keeps_all_its_hashes_in_one_file(tmp_path: Path, image: Path) -> None:
    other = image.with_name("other.nii")
    other.write_bytes(b"others")
    os.utime(other, ns=(OLD, OLD))
    book = opened(tmp_path, "first")
    with hashes_kept_in(book):
        known = {path: file_sha256(path) for path in (image, other)}
    book.close()
    assert [path.name for path in (tmp_path / "hashes").iterdir()] == ["first.jsonl"]
    again = opened(tmp_path, "second")
    for path, sha256 in known.items():
        state = path.stat()
        assert again.find(path, (state.st_size, state.st_mtime_ns)) == sha256
