"""What containers lack: a name of the user, which libraries ask for, and all of the memory."""

import getpass
import os
import pwd
from pathlib import Path

import pytest

from esegeta.machine import USERS, memory_bytes, name_the_user


def _nobody(number: int) -> None:
    raise KeyError(f"uid not found: {number}")


def test_a_user_without_a_name_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in USERS:
        monkeypatch.setenv(name, "")  # so that it is put back, or taken away again, afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", _nobody)
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    name_the_user()
    assert getpass.getuser() == f"user-{os.getuid()}"


def test_an_existing_user_name_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "marie")
    name_the_user()
    assert getpass.getuser() == "marie"


def test_a_container_may_have_less_memory_than_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says a number of bytes, or "max" where there is no limit, or nothing at all."""
    files = [tmp_path / name for name in ("first", "second", "missing")]
    monkeypatch.setattr("esegeta.machine.CGROUPS", tuple(map(str, files)))
    machine = memory_bytes()
    assert machine == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    files[0].write_text("max\n")
    assert memory_bytes() == machine
    files[1].write_text("4096\n")
    assert memory_bytes() == 4096
    files[1].write_text(f"{2 * machine}\n")
    assert memory_bytes() == machine
