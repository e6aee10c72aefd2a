"""A user id without a name, as in containers, keeps no library from being imported."""

import getpass
import os
import pwd

import pytest

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
