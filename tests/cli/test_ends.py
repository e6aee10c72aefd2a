"""How the command line ends: as a module, and on what the system says of files and of others."""

import errno
import runpy
import sys
from pathlib import Path

import pytest

from esegeta import __version__
from tests.experiments import esegeta


def test_the_package_is_a_program_only_where_it_is_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["esegeta", "--version"])
    runpy.run_module("esegeta.__main__", run_name="imported")
    assert capsys.readouterr().out == ""
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("esegeta", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("number", "is_told"), [(errno.EACCES, True), (errno.ECONNREFUSED, False), (None, False)]
)
def test_only_os_errors_about_files_are_shown_without_a_traceback(
    number: int | None, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError("odd") if number is None else OSError(number, "it said so", "here.yaml")

    def load(path: Path, overrides: list[str]) -> None:
        raise error

    monkeypatch.setattr("esegeta.config.load_config", load)
    if not is_told:  # a bug of ours, which keeps its traceback
        with pytest.raises(OSError) as raised:
            esegeta("validate", "here.yaml")
        assert raised.value is error
        return
    result = esegeta("validate", "here.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: here.yaml: it said so")
