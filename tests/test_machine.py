"""What containers have: user ids without a name, which no library minds, and less memory."""

import getpass
import os
import pwd
import sys
from pathlib import Path

import pytest

from esegeta import machine
from esegeta.machine import USERS, name_the_user


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


def test_a_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "marie")
    name_the_user()
    assert getpass.getuser() == "marie"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["max"], sys.maxsize),
        (["max", "7000\n"], 7000),
        ([None, "9000"], 9000),
        (["9000", "8000"], 8000),
    ],
    ids=["no limit", "no limit in one", "one that is not there", "two limits"],
)
def test_a_container_may_have_less_memory_than_its_machine(
    texts: list[str | None], found: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / str(number) for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        if text is not None:
            path.write_text(text)
    monkeypatch.setattr(machine, "CGROUPS", tuple(map(str, paths)))
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert machine.memory_bytes() == min(whole, found)
