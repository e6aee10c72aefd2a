"""The search for thresholds where several processes share the cases: one takes, another merges.

Each pass keeps what every case comes to in a file of its own. A step merges these in the order of
the cases, whoever took them and when, keeps what is known after the pass, and removes them.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from esegeta.dissection.thresholds import ThresholdSearch
from esegeta.predict import Units
from esegeta.workflow.cache import fingerprint, keep_tensors, kept_tensors
from esegeta.workflow.dissect.passes import open_first, thresholds_file
from esegeta.workflow.dissect.session import WHOLE, DissectionSession
from esegeta.workflow.task import Content, Desk, Task

LEAST_MB = 64.0
"""Shares of less than this are kept however little `disk_mb` is."""


def take_case(task: Task, desk: Desk) -> Content:
    """Keep what the maps of a case come to in a pass.

    Raises:
        EsegetaError: the case cannot be read.
    """
    assert task.record is not None and task.key is not None
    session: DissectionSession = desk.job
    number, turn = task.data["case"], task.data["turn"]
    case = session.cases[number]
    desk.begin(task.name, [task], session.source.num_windows(case))
    search = desk.once(("search", turn), lambda: _search_after(session, turn), depth=WHOLE)
    reading = session.reading(case)
    if turn == 0:
        open_first(session, number, reading)
    kept: dict[str, Tensor] = {}
    for maps in session.source.maps(case, reading.image):
        for name, tensor in search.take(maps, number).items():
            kept[f"{_name(maps.units)}.{name}"] = tensor
    keep_tensors(task.record, task.key, kept)
    return {}


def merge_pass(task: Task, desk: Desk) -> Content:
    """Merge what all cases come to in a pass; keep what is known after it, or the thresholds."""
    assert task.record is not None and task.key is not None
    session: DissectionSession = desk.job
    turn, device = task.data["turn"], session.dissection.basis.device
    search = _search_after(session, turn)
    for number in range(len(session.cases)):
        kept = kept_tensors(share_file(session, turn, number), share_print(session, turn))
        for units in session.dissection.parts.parts:
            # Where they were taken: sums and edges are those of one process, to the last bit.
            own = {name: tensor.to(device) for name, tensor in _of(units, kept).items()}
            search.merge(units, own)
    search.end_pass()
    last = turn + 1 == search.num_passes
    found = search.unit_thresholds().tensors() if last else search.state()
    keep_tensors(task.record, task.key, found)
    shutil.rmtree(share_file(session, turn, 0).parent, ignore_errors=True)
    return {}


def new_search(session: DissectionSession) -> ThresholdSearch:
    """Return a search at its beginning."""
    room_mb = max(float(session.dissection.keys.disk_mb), LEAST_MB)
    return session.dissection.threshold_search(room_mb)


def share_file(session: DissectionSession, turn: int, number: int) -> Path:
    """Return where the share of a case in a pass is kept."""
    assert session.shares is not None
    return session.shares / f"pass-{turn + 1}" / f"{session.cases[number].name}.safetensors"


def share_print(session: DissectionSession, turn: int) -> str:
    """Return the fingerprint of the shares of a pass."""
    how = new_search(session).passes_of_parts
    return fingerprint({"thresholds": session.thresholds_print, "passes": how, "turn": turn})


def pass_file(session: DissectionSession, turn: int, num_passes: int) -> Path:
    """Return where what is known after a pass is kept: in the end, the thresholds."""
    assert session.shares is not None
    last = turn + 1 == num_passes
    return thresholds_file(session) if last else session.shares / f"pass-{turn + 1}.safetensors"


def pass_print(session: DissectionSession, turn: int, num_passes: int) -> str:
    """Return its fingerprint."""
    return session.thresholds_print if turn + 1 == num_passes else share_print(session, turn)


def _search_after(session: DissectionSession, num_passes: int) -> ThresholdSearch:
    search = new_search(session)
    if num_passes:
        before = num_passes - 1
        path = pass_file(session, before, search.num_passes)
        state = kept_tensors(path, pass_print(session, before, search.num_passes))
        device = session.dissection.basis.device
        search.resume(num_passes, {name: tensor.to(device) for name, tensor in state.items()})
    return search


def _name(units: Units) -> str:
    return f"{units.layer}[{units.first}:{units.stop}]"


def _of(units: Units, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{_name(units)}."
    return {
        name.removeprefix(start): tensor for name, tensor in kept.items() if name.startswith(start)
    }
