"""A task: a piece of work as data and top-level functions, so that it can be sent elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from esegeta.workflow.desk import Desk


import traceback

from esegeta.errors import DegenerateMapError, EsegetaError, ModelError, is_out_of_memory

Status = Literal["done", "skipped", "failed"]
Content = Mapping[str, Any]
"""Plain values, as JSON holds them."""


@dataclass(frozen=True)
class Fault:
    """Why a task failed.

    Args:
        message: what was wrong and what to do.
        is_bug: not for the user to fix.
        traceback: of a bug.
        is_degenerate: there was a map, and it was zero everywhere, NaN or Inf.
    """

    message: str
    is_bug: bool = False
    traceback: str = ""
    is_degenerate: bool = False


@dataclass(frozen=True)
class Kind:
    """What tasks of one kind have in common: top-level functions, pickled by their names.

    Args:
        do: does the work, writes its files, the record last, and returns what the record holds.
        recall: picks from a record what the command's tables are made of.
        discard: removes what an earlier run left of a task that does not match now.
        follow: the tasks that only the record of this one tells; they come right after it. A step
            that failed is asked too, with None: those that stand for what needed it.
        prepare: is handed the unfinished tasks of a batch before they are done one by one, to do
            for all of them what they share. When it fails, all of them do.
        renew: is handed what the record of a finished task holds, and brings up to date what does
            not decide its result, such as warnings of what it stands on.
        holds: what a JSON record must hold to count.
        memory_hint: what to lower when memory runs out.
    """

    do: Callable[[Task, Desk], Content]
    recall: Callable[[Content], Content] = dict
    discard: Callable[[Task, Desk], None] | None = None
    follow: Callable[[Task, Content | None, Desk], Sequence[Task]] | None = None
    prepare: Callable[[Sequence[Task], Desk], None] | None = None
    renew: Callable[[Task, Content, Desk], Content] | None = None
    holds: tuple[str, ...] = ()
    memory_hint: str = "lower inference.batch_size or inference.window, or use precision: bf16"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A piece of work.

    Args:
        name: tells it from all others of the command, and is what people see.
        kind: how it is done.
        key: fingerprint of everything that decides its result; None where that cannot be known,
            so that nothing of an earlier run is taken for its result, or removed.
        record: the file, JSON or safetensors, that is written last and holds the key; None where
            nothing is kept and the work is done each time.
        files: the others that must be there for the record to count.
        data: what the work needs to know beside what all tasks share; plain and small.
        needs: names of tasks, listed before this one, whose failure is its failure too.
        scope: what it stands on, from the outside in, such as (case, targets); what the desk
            remembers of one scope is dropped when a task of another one comes.
        batch: tasks with the same batch that stand side by side are prepared together.
        order: its place in tables.
        is_step: serves others and is no result of its own; when it fails, those that need it are
            shown to have failed.
        fault: why it cannot be done, where that is known beforehand.
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
    order: tuple[int, ...] = ()
    is_step: bool = False
    fault: Fault | None = None


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Args:
        task: which.
        status: done now, skipped because it was finished before, or failed.
        seconds: of this run.
        warnings: what a reader of its result must know.
        content: what the command's tables are made of; empty after a failure.
        fault: why it failed.
    """

    task: Task
    status: Status
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
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
        """Whether it failed with something that is not the user's to fix."""
        return self.fault is not None and self.fault.is_bug

    @property
    def traceback(self) -> str:
        """Traceback of a bug."""
        return self.fault.traceback if self.fault else ""


def fault_of(error: Exception, *, memory_hint: str) -> Fault:
    """Return what to tell of an exception.

    Args:
        error: what was raised; it is being handled, for a bug's traceback.
        memory_hint: what to lower when memory ran out.
    """
    if isinstance(error, EsegetaError):
        return Fault(str(error), is_degenerate=isinstance(error, DegenerateMapError))
    if is_out_of_memory(error):
        return Fault(str(ModelError("out of memory", hint=memory_hint)))
    text = "".join(traceback.format_exception(error))
    return Fault(f"{type(error).__name__}: {error}", is_bug=True, traceback=text)
