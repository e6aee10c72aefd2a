"""Files appear whole or not at all, readable as any other, and failures say what to do."""

import errno
import json
import os
import platform
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from esegeta.errors import DiskFullError, OutputError
from esegeta.stop import Stopped, stopped_by_signals
from esegeta.volume import (
    atomic_path,
    json_before_list,
    sweep,
    write_json,
    write_map,
    write_text,
)
from tests.builders import volume


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_success_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    write_text(target, "first")
    write_text(target, "größer")
    assert target.read_text(encoding="utf-8") == "größer"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("existed", [True, False])
def test_an_exception_in_the_middle_changes_nothing(existed: bool, tmp_path: Path) -> None:
    target = tmp_path / "a.nii.gz"
    if existed:
        target.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == (["a.nii.gz"] if existed else [])
    assert not existed or target.read_text() == "before"


@pytest.mark.parametrize(
    ("name", "suffix"), [("a.b.nii.gz", ".nii.gz"), ("v1.2.json", ".json"), ("plain", "")]
)
def test_the_temporary_name_is_hidden_and_keeps_its_suffix(
    name: str, suffix: str, tmp_path: Path
) -> None:
    target = tmp_path / name
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(".tmp-")
        assert "".join(temporary.suffixes) == suffix
        assert not target.exists()
        temporary.write_text("x")
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_the_mode_respects_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a", "x")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("below", ["a.txt", "deeper/a.txt"])
def test_a_folder_that_is_a_file_is_an_output_error(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match=r"cannot write here.*output:"):
        write_text(tmp_path / "file" / below, "x")


def test_a_target_that_is_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"a\.txt"):
        write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == ["a.txt"]


def test_a_map_that_cannot_be_written_leaves_no_torn_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nibabel as nib

    def torn(image: object, path: Path) -> None:
        Path(path).write_bytes(b"half a header")
        raise RuntimeError("killed")

    image = volume((4, 4, 4))
    write_map(tmp_path / "map.nii.gz", image.data[0], image)
    whole = (tmp_path / "map.nii.gz").read_bytes()
    monkeypatch.setattr(nib, "save", torn)
    with pytest.raises(RuntimeError, match="killed"):
        write_map(tmp_path / "map.nii.gz", 2 * image.data[0], image)
    assert names(tmp_path) == ["map.nii.gz"]
    assert (tmp_path / "map.nii.gz").read_bytes() == whole


def test_json_holds_plain_values_and_null_for_nan(tmp_path: Path) -> None:
    content = {
        "path": Path("a") / "b",
        "nan": float("nan"),
        "nested": {1: (1, 2.5, [float("nan")])},
        "text": "µm",
    }
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "path": "a/b",
        "nan": None,
        "nested": {"1": [1, 2.5, [None]]},
        "text": "µm",
    }
    assert "µm" in text


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"a": [], "b": {}, "c": "é", "d": None},
        {"a": [{"x": 1, "y": [1, [2, {"z": "line\nline"}]]}, [], {}], "b": {"c": [1]}, "e": [0.5]},
    ],
)
def test_iterators_are_written_to_json_like_lists(content: dict[str, Any], tmp_path: Path) -> None:
    """By Python's own writer, which takes only what is there as a whole."""
    expected = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    streamed = {k: iter(v) if isinstance(v, list) else v for k, v in content.items()}
    for name, given in (("whole", content), ("streamed", streamed)):
        write_json(tmp_path / name, given)
        assert (tmp_path / name).read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("head", [{}, {"a": [1, {"b": 2}], "units": 3}, {"a": "units", "b": None}])
@pytest.mark.parametrize("entries", [[], [1, {"c": [2]}]])
def test_what_stands_before_a_list_is_read_without_it(
    head: dict[str, Any], entries: list[Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {**head, "tasks": iter(entries), "behind": 1})
    lines = iter(path.read_text().splitlines(keepends=True))
    assert json.loads(json_before_list(lines, "tasks")) == head
    assert json.loads(
        json_before_list(path.read_text().splitlines(keepends=True), "others")
    ) == json.loads(path.read_text())


def test_an_iterator_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ZeroDivisionError):
        write_json(tmp_path / "a.json", {"a": (1 // k for k in (1, 0))})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_json_has_no_infinity_either(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"worst": float("inf"), "best": -float("inf")})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Infinity" not in text


@pytest.mark.slow
def test_a_sweep_removes_only_files_of_dead_writers(tmp_path: Path) -> None:
    code = "from pathlib import Path; import os; from esegeta.volume import atomic_path\n"
    code += (
        "with atomic_path(Path('deep/map.nii.gz')) as path: path.write_text('torn'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    (left,) = (tmp_path / "deep").iterdir()
    assert left.name.startswith(".tmp-")
    other_host = left.with_name(left.name.replace(platform.node(), "elsewhere"))
    kept = [tmp_path / "map.nii.gz", other_host, tmp_path / ".tmp-notes"]
    for path in kept:
        path.touch()
    with atomic_path(tmp_path / "mine.json") as mine:
        sweep(tmp_path)
        assert mine.exists()
    assert not left.exists()
    assert all(path.exists() for path in kept)
    pid = int(left.name.split("-")[-2])
    sweep(tmp_path, {("elsewhere", pid + 1), ("nowhere", pid)})
    assert all(path.exists() for path in kept)
    sweep(tmp_path, {("elsewhere", pid)})
    assert [path.exists() for path in kept] == [True, False, True]


def test_a_sweep_reads_the_writer_from_the_file_name(tmp_path: Path) -> None:
    here, nobody = platform.node(), 2**22 + 1  # more than the numbers that Linux gives
    dead, mine, other, notes = (
        tmp_path / "deep" / f".tmp-{rest}"
        for rest in (f"{here}-{nobody}-a", f"{here}-{os.getpid()}-a", f"else-{nobody}-a", "notes")
    )
    (tmp_path / "deep").mkdir()
    for path in (dead, mine, other, notes):
        path.touch()
    sweep(tmp_path)
    assert [path.exists() for path in (dead, mine, other, notes)] == [False, True, True, True]
    sweep(tmp_path, {("else", nobody)})
    assert [path.exists() for path in (mine, other, notes)] == [True, False, True]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), atomic_path(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_recognised_in_errors_of_rust(tmp_path: Path) -> None:
    """Tensors are written by a library whose errors are no OSErrors."""
    with pytest.raises(DiskFullError, match="No space left"), atomic_path(tmp_path / "a.txt"):
        raise RuntimeError("I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="no fault of a disk"), atomic_path(tmp_path / "a.txt"):
        raise RuntimeError("no fault of a disk")


def test_a_file_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "a.txt", list[tuple[int, bool]]()
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append((os.fstat(handle).st_ino, path.exists()))
    )
    write_text(path, "new")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_disk_without_fsync_is_written_nonetheless(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", sync)
    path = tmp_path / "a.txt"
    if code == errno.EIO:  # it can, and failed
        with pytest.raises(OutputError):
            write_text(path, "new")
        assert list(tmp_path.iterdir()) == []
    else:
        write_text(path, "new")
        assert path.read_text() == "new"


def test_a_signal_while_writing_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkstemp

    def made_and_stopped(*args: str) -> tuple[int, str]:
        found = make(*args)
        os.kill(os.getpid(), signal.SIGTERM)
        return found

    monkeypatch.setattr("tempfile.mkstemp", made_and_stopped)
    with pytest.raises(Stopped), stopped_by_signals(), atomic_path(tmp_path / "a.json"):
        raise AssertionError("it went on")
    assert list(tmp_path.iterdir()) == []
