"""What tasks of one process work on: what all of them share, and what was opened for the scope."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from esegeta.volume import ReadingWarning
from esegeta.workflow.listener import Listener
from esegeta.workflow.task import Task

Result = TypeVar("Result")
Scope = tuple[str, ...]


@dataclass(eq=False)
class Desk:
    """Where tasks find what they need, and whom they tell.

    Opened images, predictions and frozen targets are made once and stay for as long as tasks of
    their scope come; an error in the making stays too, for it would come again.

    Args:
        job: what all tasks of the command share, built from the config.
        listener: is told how the work goes on.
    """

    job: Any
    listener: Listener
    notes: list[str] = field(default_factory=list)
    _scope: Scope = ()
    _made: dict[tuple[Scope, Hashable], Any] = field(default_factory=dict)
    _failed: dict[tuple[Scope, Hashable], Exception] = field(default_factory=dict)

    def enter(self, scope: Scope) -> None:
        """Go on in a scope; what belongs to scopes that it does not lie in is dropped."""
        self._scope = scope
        for known in (self._made, self._failed):
            for place in [place for place in known if place[0] != scope[: len(place[0])]]:
                del known[place]

    def once(self, name: Hashable, make: Callable[[], Result], *, depth: int) -> Result:
        """Return what was made under a name in the outer `depth` levels of the scope, or make it.

        Raises:
            Exception: whatever `make` raises, again each time.
        """
        place = (self._scope[:depth], name)
        if place in self._failed:
            raise self._failed[place]
        if place not in self._made:
            try:
                self._made[place] = make()
            except Exception as error:
                self._failed[place] = error
                raise
        return cast(Result, self._made[place])

    def put(self, name: Hashable, value: object) -> None:
        """Leave something for a task of this scope."""
        self._made[(self._scope, name)] = value

    def take(self, name: Hashable) -> Any | None:
        """Return what was left under a name in this scope, and forget it; None if nothing was."""
        return self._made.pop((self._scope, name), None)

    def begin(self, name: str, tasks: Sequence[Task] = (), windows: int | None = None) -> None:
        """Say what is being worked on, and how many windows it takes where that is known."""
        self.listener.begin(name, sum(not task.is_step for task in tasks), windows)

    def note(self, *texts: str) -> None:
        """Say something that the user should know; once."""
        for text in texts:
            if text not in self.notes:
                self.notes.append(text)
                self.listener.note(text)

    @contextmanager
    def noting_readings(self) -> Iterator[None]:
        """Take what is said of files as they are read, whoever reads them, for notes."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", ReadingWarning)
            show = warnings.showwarning

            def note(
                message: Warning | str, category: type[Warning], *place: Any, **more: Any
            ) -> None:
                if issubclass(category, ReadingWarning):
                    self.note(str(message))
                else:
                    show(message, category, *place, **more)

            warnings.showwarning = note
            yield
