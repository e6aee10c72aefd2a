"""Tasks of the passes for thresholds: each adds the maps of a case, then thresholds are found."""

from __future__ import annotations

from pathlib import Path

from esegeta.dissection.thresholds import Thresholds, ThresholdSearch
from esegeta.workflow.cache import keep_tensors
from esegeta.workflow.dissect.session import WHOLE, Session, kept_tensors
from esegeta.workflow.task import Content, Desk, Task

SEARCH = "search for thresholds"


def add_case(task: Task, desk: Desk) -> Content:
    """Add the maps of a case to the search.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session: Session = desk.job
    number = task.data["case"]
    case = session.cases[number]
    desk.begin(task.name, [task], session.source.num_windows(case))
    search, reading = _search(desk), session.reading(case)
    if task.data["turn"] == 0:
        # Concepts are not needed yet; made here, the files are read but once.
        session.partition(number, reading)
    for maps in session.source.maps(case, reading.image):
        search.add(maps)
    return {}


def end_pass(task: Task, desk: Desk) -> Content:
    """End a pass over all cases that another one follows."""
    _search(desk).end_pass()
    return {}


def keep_thresholds(task: Task, desk: Desk) -> Content:
    """End the last pass, and keep the thresholds of all units."""
    assert task.record is not None and task.key is not None
    search = _search(desk)
    search.end_pass()
    keep_tensors(task.record, task.key, search.unit_thresholds().tensors())
    desk.take(SEARCH)  # it holds many activations
    return {}


def thresholds_of(desk: Desk) -> Thresholds:
    """Return the thresholds of all units, once they are found."""
    session: Session = desk.job

    def read() -> Thresholds:
        return Thresholds(**kept_tensors(record_of(session), session.thresholds_print))

    return desk.once("thresholds", read, depth=WHOLE)


def record_of(session: Session) -> Path:
    """Return where thresholds are kept."""
    return session.folder / "thresholds.safetensors"


def _search(desk: Desk) -> ThresholdSearch:
    session: Session = desk.job
    return desk.once(SEARCH, session.dissection.threshold_search, depth=WHOLE)
