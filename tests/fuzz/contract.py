"""What must hold of any input: exit 0, 1 or 2, no traceback, nothing left on 2, in bounds."""

from __future__ import annotations

import resource
import signal
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from typer.testing import CliRunner

import esegeta.workflow  # noqa: F401  (what is imported late counts for no input)
from esegeta.cli import app
from tests.experiments import Lab

SECONDS = 20
"""One input may take so long, on a machine that does other work too."""
MEMORY_BYTES = 4 << 30
"""Address space that one input may add to the process."""
EXIT_CODES = (0, 1, 2)


class TooLongError(BaseException):
    """The time is over; no `except Exception` on the way catches it."""


@dataclass(frozen=True)
class Verdict:
    """What became of an input.

    Args:
        exit_code: of the command; None where it did not end by itself.
        fault: how the contract was broken; empty where it was kept.
        said: what the command wrote.
    """

    exit_code: int | None
    fault: str
    said: str = ""


def judge(command: Sequence[str], folder: Path) -> Verdict:
    """Run the command line in this process and say whether the contract was kept.

    Args:
        command: its arguments.
        folder: everything that it may write lies in it.
    """
    before = set(folder.rglob("*"))
    try:
        with _limits(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = CliRunner().invoke(app, list(command))
    except TooLongError:
        return Verdict(None, f"took more than {SECONDS} s")
    said = result.output
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        if isinstance(result.exception, TooLongError):
            return Verdict(None, f"took more than {SECONDS} s", said)
        assert result.exc_info is not None
        return Verdict(None, "".join(traceback.format_exception(*result.exc_info)), said)
    if result.exit_code not in EXIT_CODES:
        return Verdict(result.exit_code, f"exit code {result.exit_code}", said)
    if "Traceback" in said:
        return Verdict(result.exit_code, "a traceback was printed", said)
    left = {path for path in folder.rglob("*") if ".tmp-" in path.name}
    if result.exit_code == 2 and "failures:" not in said:  # else a run began, and says how it ended
        left |= {path for path in set(folder.rglob("*")) - before if path.is_file()}
        left = {path for path in left if "__pycache__" not in path.parts}
    if left:
        return Verdict(result.exit_code, f"left {sorted(map(str, left))[:3]}", said)
    if result.exit_code == 2 and not ("error: " in said or "Usage" in said or "failures" in said):
        return Verdict(2, "nothing said why", said)
    return Verdict(result.exit_code, "", said)


def refused(lab: Lab, words: str, *command: Any) -> str:
    """Check that a command keeps the contract and ends with 2; return what it said."""
    verdict = judge([str(part) for part in command], lab.folder)
    assert not verdict.fault, verdict.fault
    assert verdict.exit_code == 2, verdict.said
    assert words in verdict.said
    return verdict.said


@contextmanager
def _limits() -> Iterator[None]:
    """Limit time and memory of what runs in the block."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLongError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = _address_space() + MEMORY_BYTES
    handler = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
