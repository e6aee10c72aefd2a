"""A task: data and top-level functions that can be sent elsewhere; and the desk it is done at."""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast, runtime_checkable

from esegeta.errors import (
    DegenerateMapError,
    EsegetaError,
    ModelError,
    is_out_of_memory,
    told_by_system,
)
from esegeta.report.contents import Check
from esegeta.report.shapes import Told
from esegeta.volume import ReadingWarning

Status = Literal["done", "skipped", "failed"]
Content = Mapping[str, Any]
"""Plain values, as JSON holds them."""


@dataclass(frozen=True)
class Fault:
    """Why a task failed.

    Args:
        message: message saying what was wrong and what to do.
        is_bug: whether it is not for the user to fix.
        traceback: traceback of a bug.
        is_degenerate: whether there was a map that was zero everywhere, NaN or Inf.
    """

    message: str
    is_bug: bool = False
    traceback: str = ""
    is_degenerate: bool = False


@dataclass(frozen=True)
class Kind:
    """What tasks of one kind have in common: top-level functions, pickled by name.

    Args:
        do: does the work, writes its files, the record last, and returns what the record holds.
        recall: picks from a record what the command's tables need.
        discard: removes what an earlier run left of a task that no longer matches.
        follow: the tasks that only the record of this one tells; they come right after it. A step
            that failed is asked too, with None: those that stand for what needed it.
        prepare: is handed the unfinished tasks of a batch before they are done one by one, to do
            for all of them what they share. When it fails, all of them do.
        renew: is handed what the record of a finished task holds, and brings up to date what does
            not decide its result, such as warnings of what it stands on.
        holds: keys that a JSON record must hold to count.
        told: what the content of a journal's line must be, where one process reads another's.
        memory_hint: advice on what to lower when memory runs out.
    """

    do: Callable[[Task, Desk], Content]
    recall: Callable[[Content], Content] = dict
    discard: Callable[[Task, Desk], None] | None = None
    follow: Callable[[Task, Content | None, Desk], Sequence[Task]] | None = None
    prepare: Callable[[Sequence[Task], Desk], None] | None = None
    renew: Callable[[Task, Content, Desk], Content] | None = None
    holds: tuple[str, ...] = ()
    told: type[Told] = Told
    memory_hint: str = "lower inference.batch_size or inference.window, or use precision: bf16"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A piece of work.

    Args:
        name: name that tells it from all others of the command, and that people see.
        kind: kind of task, which says how it is done.
        key: fingerprint of everything that decides its result; None where that cannot be known,
            so that nothing of an earlier run is taken for its result, or removed.
        record: file, JSON or safetensors, that is written last and holds the key; None where
            nothing is kept and the work is done each time.
        files: other files that must be there for the record to count.
        data: plain, small values that the work needs besides what all tasks share.
        needs: names of tasks, listed before this one, whose failure is its failure too.
        scope: what it stands on, from the outside in, such as (case, targets); what the desk
            remembers of one scope is dropped when a task of another one comes.
        batch: tasks with the same batch that stand side by side are prepared together.
        place: what it goes with where several processes share the work, such as its case; empty
            where it stands on all of them, or leaves no record that another process could read.
        order: its place in tables.
        is_step: serves others and is no result of its own; when it fails, those that need it are
            shown to have failed.
        fault: reason why it cannot be done, where that is known beforehand.
    """

    name: str
    kind: Kind
    key: str | None
    record: Path | None = None
    files: tuple[Path, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    scope: tuple[str, ...] = ()
    batch: str = ""
    place: str = ""
    order: tuple[int, ...] = ()
    is_step: bool = False
    fault: Fault | None = None


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Args:
        task: task that ended.
        status: whether it was done now, skipped because it was finished before, or failed.
        seconds: time that it took in this run.
        warnings: warnings to readers of its result.
        verdicts: those warnings that judge the result and not how it came about.
        content: data for the command's tables; empty after a failure.
        fault: reason why it failed.
    """

    task: Task
    status: Status
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    content: Content = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task.name

    @property
    def message(self) -> str:
        """Why it failed, or nothing."""
        return self.fault.message if self.fault else ""

    @property
    def is_bug(self) -> bool:
        """Whether it failed with something that is not for the user to fix."""
        return self.fault is not None and self.fault.is_bug

    @property
    def traceback(self) -> str:
        """Traceback of a bug."""
        return self.fault.traceback if self.fault else ""


def fault_of(error: Exception, *, memory_hint: str) -> Fault:
    """Return what to report about an exception.

    Args:
        error: exception that is being handled, for a bug's traceback.
        memory_hint: what to lower when memory ran out.
    """
    if isinstance(error, EsegetaError):
        return Fault(str(error), is_degenerate=isinstance(error, DegenerateMapError))
    told = told_by_system(error) if isinstance(error, OSError) else None
    if told is not None:
        return Fault(str(told))
    if is_out_of_memory(error):
        return Fault(str(ModelError("out of memory", hint=memory_hint)))
    text = "".join(traceback.format_exception(error))
    return Fault(f"{type(error).__name__}: {error}", is_bug=True, traceback=text)


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
        places: those whose tasks are done here; None for all.
        check: how the files of finished tasks are checked.
    """

    job: Any
    listener: Listener
    notes: list[str] = field(default_factory=list)
    places: frozenset[str] | None = None
    check: Check = "quick"
    _scope: Scope = ()
    _made: dict[tuple[Scope, Hashable], Any] = field(default_factory=dict)
    _failed: dict[tuple[Scope, Hashable], Exception] = field(default_factory=dict)

    def wants(self, place: str) -> bool:
        """Tell whether tasks of a place are done here; others need not be listed."""
        return self.places is None or place in self.places

    def enter(self, scope: Scope) -> None:
        """Go on in a scope; what belongs to scopes that it does not lie in is dropped."""
        self._scope = scope
        for known in (self._made, self._failed):
            for place in [place for place in known if place[0] != scope[: len(place[0])]]:
                del known[place]

    def with_job(self, job: Any) -> Desk:
        """Return the same desk for another job; what was made for the old one is dropped."""
        return replace(self, job=job, _made={}, _failed={})

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
        """Collect remarks on files as they are read, whoever reads them, as notes."""
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
