"""How the tasks of a run ended, and what that means for the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from esegeta.explain import RegionRow
from esegeta.report import CurveRow, ScoreRow

Status = Literal["done", "skipped", "failed"]

EXIT_OK, EXIT_SOME_FAILED, EXIT_USER = 0, 1, 2


@runtime_checkable
class Ended(Protocol):
    """How one task ended, whatever the work is: what is shown and what the exit code says.

    The attributes are those of `TaskResult`, the task of `esegeta run`.
    """

    @property
    def name(self) -> str:
        """What was to be done."""

    @property
    def status(self) -> Status:
        """Done now, skipped because it was finished before, or failed."""

    @property
    def seconds(self) -> float:
        """What it took, now."""

    @property
    def message(self) -> str:
        """Why it failed."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of its result must know."""

    @property
    def is_bug(self) -> bool:
        """Whether it failed with something that is not the user's to mend."""

    @property
    def traceback(self) -> str:
        """Of a bug."""


@dataclass(frozen=True)
class TaskResult:
    """How one task, case x target x method, ended.

    Args:
        case: name of the case.
        target: name of the target.
        method: id of the method.
        status: done now, skipped because it was finished before, or failed.
        seconds: of this run.
        message: why it failed.
        warnings: what the reader of its map must know.
        is_bug: failed with something that is not the user's to mend.
        traceback: of a bug.
        rows: its scores.
        regions: its map by channel and region.
        curves: behind its scores.
    """

    case: str
    target: str
    method: str
    status: Status
    seconds: float = 0.0
    message: str = ""
    warnings: tuple[str, ...] = ()
    is_bug: bool = False
    traceback: str = ""
    rows: tuple[ScoreRow, ...] = ()
    regions: tuple[RegionRow, ...] = ()
    curves: tuple[CurveRow, ...] = ()

    @property
    def name(self) -> str:
        """Case, target and method in one."""
        return f"{self.case} / {self.target} / {self.method}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    results: Sequence[Ended]
    seconds: float = 0.0

    @property
    def failures(self) -> list[Ended]:
        """Units that failed."""
        return [result for result in self.results if result.status == "failed"]

    @property
    def warned(self) -> list[Ended]:
        """Units whose result carries a warning."""
        return [result for result in self.results if result.warnings]

    @property
    def exit_code(self) -> int:
        """0 when all is well; 2 when what the user gave let no task succeed; else 1."""
        if not self.failures:
            return EXIT_SOME_FAILED if self.warned else EXIT_OK
        none_succeeded = len(self.failures) == len(self.results)
        if none_succeeded and not any(result.is_bug for result in self.failures):
            return EXIT_USER
        return EXIT_SOME_FAILED


@runtime_checkable
class Listener(Protocol):
    """Is told how a run goes on; the command line shows it."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""

    def expect(self, units: int) -> None:
        """Hear that so many more units are to be done."""

    def begin(self, name: str, units: int = 0, windows: int | None = None) -> None:
        """Hear what is being worked on: how many units at once, and of about how many windows."""

    def advance(self, windows: int) -> None:
        """Hear that so many windows went through the network."""

    def end(self, result: Ended) -> None:
        """Hear how a task ended."""


class Silence:
    """A listener that says nothing."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def expect(self, units: int) -> None:
        """Ignore it."""

    def begin(self, name: str, units: int = 0, windows: int | None = None) -> None:
        """Ignore it."""

    def advance(self, windows: int) -> None:
        """Ignore it."""

    def end(self, result: Ended) -> None:
        """Ignore it."""
