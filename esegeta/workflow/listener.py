"""Whoever is told how a command goes on, and how it ended as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from esegeta.workflow.task import Ended

EXIT_OK, EXIT_SOME_FAILED, EXIT_USER = 0, 1, 2


@runtime_checkable
class Listener(Protocol):
    """Receives the progress of a command; the command line shows it."""

    def note(self, text: str) -> None:
        """Take a note that the user should see."""

    def expect(self, tasks: int) -> None:
        """Add to the number of tasks to be done."""

    def begin(self, name: str, tasks: int = 0, windows: int | None = None) -> None:
        """Take what is being worked on: how many tasks at once, of about how many windows."""

    def advance(self, windows: int) -> None:
        """Count windows that went through the network."""

    def end(self, ended: Ended) -> None:
        """Take how a task ended."""


class Silence:
    """A listener that says nothing."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def expect(self, tasks: int) -> None:
        """Ignore it."""

    def begin(self, name: str, tasks: int = 0, windows: int | None = None) -> None:
        """Ignore it."""

    def advance(self, windows: int) -> None:
        """Ignore it."""

    def end(self, ended: Ended) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Args:
        results: how its tasks ended, steps left out, in the order of tables.
        seconds: wall clock.
    """

    results: Sequence[Ended]
    seconds: float = 0.0

    @property
    def failures(self) -> list[Ended]:
        """Tasks that failed."""
        return [ended for ended in self.results if ended.status == "failed"]

    @property
    def warned(self) -> list[Ended]:
        """Tasks whose result carries a warning."""
        return [ended for ended in self.results if ended.warnings]

    @property
    def exit_code(self) -> int:
        """0 when all is well; 2 when what the user gave let no task succeed; else 1."""
        if not self.failures:
            return EXIT_SOME_FAILED if self.warned else EXIT_OK
        none_succeeded = len(self.failures) == len(self.results)
        if none_succeeded and not any(ended.is_bug for ended in self.failures):
            return EXIT_USER
        return EXIT_SOME_FAILED

    @property
    def state(self) -> str:
        """What the command's record says when it has come to its end."""
        if self.exit_code == EXIT_USER:
            return "failed"
        return "incomplete" if self.failures else "complete"
