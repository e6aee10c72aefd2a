"""The last task: the summary, whose being there means that a dissection is finished."""

from __future__ import annotations

import shutil

from esegeta.errors import EsegetaError
from esegeta.volume import write_json
from esegeta.workflow.cache import MARK
from esegeta.workflow.desk import Desk
from esegeta.workflow.dissect.overlaps import overlaps_of
from esegeta.workflow.dissect.results import SUMMARY, found_results, written
from esegeta.workflow.dissect.session import MEMORY_HINT, Session
from esegeta.workflow.dissect.tables import summary_of
from esegeta.workflow.task import Content, Fault, Kind, Task


def summary_task(session: Session, *needs: str) -> Task:
    """Return the task that ends a dissection.

    Args:
        session: of the dissection.
        needs: names of tasks without which there is nothing to sum up.
    """
    key, fault = None, None
    try:
        key = session.fingerprint
    except EsegetaError as error:
        fault = Fault(str(error))
    record = session.dissection.folder / SUMMARY
    return Task(name="summary", kind=KIND, key=key, record=record, needs=needs, fault=fault)


def write_summary(task: Task, desk: Desk) -> Content:
    """Write the summary, and remove what was kept to go on with."""
    from esegeta import __version__

    session: Session = desk.job
    dissection, found = session.dissection, written(desk)
    summary = summary_of(dissection, found_results(desk), overlaps_of(desk).counts)
    summary["notes"] += found.notes
    if found.trails is not None:
        summary["trails"] = found.trails
    content = {
        "name": dissection.basis.config.keys.name,
        "esegeta": __version__,
        MARK: task.key,
        **summary,
        "files": [str(path.relative_to(dissection.folder)) for path in found.files],
        "seconds": round(session.seconds, 3),
        "config": dissection.basis.config.resolved(),
        "weights_sha256": dissection.basis.weights_sha256,
        "code_sha256": dissection.basis.code_sha256,
    }
    assert task.record is not None
    write_json(task.record, content)
    clear(session)
    desk.note(*summary["notes"])
    return content


def recall_nothing(content: Content) -> Content:
    """Leave the content to the record."""
    return {}


def clear(session: Session) -> None:
    """Remove what was kept."""
    shutil.rmtree(session.folder, ignore_errors=True)


KIND = Kind(write_summary, recall=recall_nothing, memory_hint=MEMORY_HINT)
