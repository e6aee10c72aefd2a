"""Tasks of the passes over the cases: thresholds are found, units are counted against concepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from esegeta.dissection.all_counts import FOLDS, Counts, count_held_out, thresholds_of_case
from esegeta.dissection.counts import CaseCounts, count_case
from esegeta.dissection.thresholds import Thresholds, ThresholdSearch
from esegeta.workflow.cache import keep_tensors, kept_tensors
from esegeta.workflow.dissect.session import WHOLE, CaseReading, DissectionSession
from esegeta.workflow.dissect.tables import ImageTable
from esegeta.workflow.task import Content, Desk, Task

SEARCH = "search for thresholds"


def add_case(task: Task, desk: Desk) -> Content:
    """Add the maps of a case to the search.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session, number, reading = _open(task, desk)
    search = _search(desk)
    if task.data["turn"] == 0:
        open_first(session, number, reading)
    for maps in session.source.maps(session.cases[number], reading.image):
        search.add(maps, number)
    return {}


def _open(task: Task, desk: Desk) -> tuple[DissectionSession, int, CaseReading]:
    """Begin a pass over a case; return the session, the case's number, and its reading."""
    session: DissectionSession = desk.job
    number: int = task.data["case"]
    case = session.cases[number]
    desk.begin(task.name, [task], session.source.num_windows(case))
    return session, number, session.reading(case)


def open_first(session: DissectionSession, number: int, reading: CaseReading) -> None:
    """Make concepts and body of a case, which are not needed yet: files are read but once."""
    session.partition(number, reading)
    session.body(number, reading)


def end_pass(task: Task, desk: Desk) -> Content:
    """End a pass over all cases that is followed by another one."""
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
    session: DissectionSession = desk.job

    def read() -> Thresholds:
        return Thresholds(**kept_tensors(thresholds_file(session), session.thresholds_print))

    return desk.once("thresholds", read, depth=WHOLE)


def thresholds_file(session: DissectionSession) -> Path:
    """Return where thresholds are kept."""
    return session.folder / "thresholds.safetensors"


def _search(desk: Desk) -> ThresholdSearch:
    session: DissectionSession = desk.job
    return desk.once(SEARCH, session.dissection.threshold_search, depth=WHOLE)


@dataclass(frozen=True, eq=False)
class AllOverlaps:
    """What the counts of all cases come to.

    Args:
        counts: counts of all cases, added up.
        images: results of units in each image.
        peaks: largest activation of each unit in each case, cases x units.
    """

    counts: Counts
    images: ImageTable
    peaks: Tensor


def count_overlaps(task: Task, desk: Desk) -> Content:
    """Count a case, and keep its counts.

    Raises:
        EsegetaError: the case cannot be read.
    """
    assert task.record is not None and task.key is not None
    session, number, reading = _open(task, desk)
    maps = session.source.maps(session.cases[number], reading.image)
    partition = session.partition(number, reading)
    body = session.body(number, reading)
    counting = session.dissection.counting
    others = session.concepts_of(number)
    counts = count_case(counting, thresholds_of(desk), partition, maps, number, body, others)
    keep_tensors(task.record, task.key, counts.tensors())
    return {}


def add_up(task: Task, desk: Desk) -> Content:
    """Add up the counts of all cases, and keep at which thresholds each is judged once more."""
    assert task.record is not None and task.key is not None
    counts = overlaps_of(desk).counts
    best = counts.held_out_thresholds(thresholds_of(desk))
    keep_tensors(task.record, task.key, {"thresholds": best, "fold": counts.fold})
    return {}


def count_best(task: Task, desk: Desk) -> Content:
    """Count a case once more, at the best thresholds of other cases, and keep the counts.

    Raises:
        EsegetaError: the case cannot be read.
    """
    assert task.record is not None and task.key is not None
    session, number, reading = _open(task, desk)
    best = _best_thresholds(desk)
    maps = session.source.maps(session.cases[number], reading.image)
    partition = session.partition(number, reading)
    chosen = thresholds_of_case(best["thresholds"], best["fold"][number])
    both, union = count_held_out(session.dissection.parts, chosen, partition, maps)
    keep_tensors(task.record, task.key, {"both": both, "union": union})
    return {}


def overlaps_of(desk: Desk) -> AllOverlaps:
    """Return what the counts of all cases come to, once these are there."""
    return desk.once("overlaps", lambda: _added_up(desk.job), depth=WHOLE)


def held_out_iou(desk: Desk) -> Tensor:
    """Return the IoU over all cases, each at thresholds that were chosen on others.

    NaN for all where there is only one case, or where the config does not want it; and for
    concepts that fewer than two cases hold.
    """
    if not has_held_out(desk.job):
        return torch.full_like(overlaps_of(desk).counts.p, torch.nan)
    session: DissectionSession = desk.job
    both = torch.zeros_like(overlaps_of(desk).counts.tally.both)
    union = torch.zeros_like(both)
    for number in range(len(session.cases)):
        found = kept_tensors(best_file(session, number), session.best_print)
        both += found["both"]
        union += found["union"]
    return both.double() / union.double()


def has_held_out(session: DissectionSession) -> bool:
    """Tell whether thresholds are chosen on other cases."""
    return session.dissection.keys.holdout and len(session.cases) >= FOLDS


def counts_file(session: DissectionSession, number: int) -> Path:
    """Return where the counts of a case are kept."""
    return session.folder / "counts" / f"{session.cases[number].name}.safetensors"


def _added_up(session: DissectionSession) -> AllOverlaps:
    images, peaks = ImageTable(session.dissection), []

    def read() -> Iterator[CaseCounts]:
        for number, case in enumerate(session.cases):
            path, key = counts_file(session, number), session.counts_prints[number]
            found = CaseCounts(**kept_tensors(path, key))
            images.add(case.name, found)
            peaks.append(found.peak)
            yield found

    counts = Counts.of(read(), session.dissection.chance)
    return AllOverlaps(counts, images, torch.stack(peaks))


def best_file(session: DissectionSession, number: int) -> Path:
    """Return where the counts of a case at the best thresholds of others are kept."""
    return session.folder / "best" / f"{session.cases[number].name}.safetensors"


def best_thresholds_file(session: DissectionSession) -> Path:
    """Return where these thresholds are kept."""
    return session.folder / "best_thresholds.safetensors"


def _best_thresholds(desk: Desk) -> Mapping[str, Tensor]:
    session: DissectionSession = desk.job
    return desk.once(
        "best thresholds",
        lambda: kept_tensors(best_thresholds_file(session), session.best_print),
        depth=WHOLE,
    )
