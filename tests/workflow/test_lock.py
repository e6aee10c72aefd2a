"""Two processes on one folder: the second is told who holds it; what the dead left is taken."""

import errno
import fcntl
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from esegeta.errors import OutputError
from esegeta.workflow.lock import NAME, SHARED, Holder, living, locked

HOLD = """
import sys
from pathlib import Path
from esegeta.workflow.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        return process.pid


def leave(folder: Path, **holder: object) -> None:
    content = {"host": platform.node(), "pid": 1, "born": "", "since": "yesterday", **holder}
    (folder / NAME).write_text(json.dumps(content))


def test_a_folder_is_locked_and_released(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with locked(folder):
        assert json.loads((folder / NAME).read_text())["pid"] == os.getpid()
    assert not (folder / NAME).exists()


def test_a_lock_is_released_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


@pytest.mark.slow
def test_another_process_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "held\n"
        text = f"process {process.pid} on {platform.node()} is working on this folder since"
        with pytest.raises(OutputError, match=text), locked(tmp_path):
            pass
        process.kill()
        process.wait()
        assert (tmp_path / NAME).exists()  # it had no time to remove it
        with locked(tmp_path):
            pass


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    leave(tmp_path, pid=dead_pid())
    with locked(tmp_path):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_a_later_process_with_the_same_pid_is_not_the_holder(tmp_path: Path) -> None:
    leave(tmp_path, pid=os.getppid(), born="1")
    with locked(tmp_path):
        pass


def test_the_lock_file_of_a_living_process_counts_without_a_system_lock(tmp_path: Path) -> None:
    leave(tmp_path, pid=os.getppid())
    with pytest.raises(OutputError, match=f"process {os.getppid()} on"), locked(tmp_path):
        pass


def test_the_lock_of_another_host_is_respected(tmp_path: Path) -> None:
    leave(tmp_path, host="node17", pid=dead_pid())
    text = r"on node17 is working .*since yesterday; .* remove"
    with pytest.raises(OutputError, match=text), locked(tmp_path):
        pass


DAMAGED = ["", '{"host": "nod', "[1, 2]", '{"no": 1}', '{"host": "a", "pid": "x"}', "[" * 5000]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_torn_lock_file_does_not_lock(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    part = tmp_path / SHARED / "part"
    part.parent.mkdir(parents=True)
    part.write_text(text)
    assert living(tmp_path) == []
    with locked(tmp_path):
        assert Holder(**json.loads((tmp_path / NAME).read_text())).pid == os.getpid()


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write here"), locked(tmp_path / "file"):
        pass


def test_a_lock_file_removed_while_being_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The former holder removes its file, and a lock on a removed file keeps nobody out."""
    real, asked = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        real(handle, how)
        if not asked:
            (tmp_path / NAME).unlink()
        asked.append(handle)

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        assert len(asked) == 2
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()


def test_on_a_disk_without_locks_the_content_of_the_lock_file_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path):
        assert (tmp_path / NAME).is_file()
    leave(tmp_path, pid=os.getppid())
    with pytest.raises(OutputError, match=f"process {os.getppid()} on"), locked(tmp_path):
        pass
