"""Figures of discovered concepts: the supervoxels that show each best, in three planes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from esegeta.report import Panel, draw_unit, panels_of
from esegeta.report.file_names import distinct_parts, file_part
from esegeta.volume import atomic_path
from esegeta.workflow.concepts.fit import DISCOVERED, Vectors, segments_of_all, vectors_of
from esegeta.workflow.concepts.gather import segments_of
from esegeta.workflow.concepts.session import WHOLE, ConceptSession, open_concepts
from esegeta.workflow.one_result import written
from esegeta.workflow.task import Content, Desk, Task

SHOWN = 3
"""Examples of each discovered concept that are drawn."""


@dataclass(frozen=True, eq=False)
class DrawnSupervoxels:
    """Which supervoxels are drawn.

    Args:
        rows: of each discovered concept, by its place among the vectors.
        cases: numbers of the cases that hold them.
        panels: what was made so far, by place and row.
    """

    rows: dict[int, tuple[int, ...]]
    cases: list[int]
    panels: dict[tuple[int, int], list[Panel]] = field(default_factory=dict)


def chosen_examples(desk: Desk) -> DrawnSupervoxels:
    """Return which supervoxels are drawn, from as many cases as there are."""
    session: ConceptSession = desk.job

    def choose() -> DrawnSupervoxels:
        kept = [session.kept("regions", number) for number in range(len(session.cases))]
        found = vectors_of(desk)
        if not any(one.kind == DISCOVERED for one in found):
            return DrawnSupervoxels({}, [])
        segments = segments_of_all(kept)
        rows = {
            place: _from_many_groups(one, segments.places[:, 0])
            for place, one in enumerate(found)
            if one.kind == DISCOVERED and one.members
        }
        cases = sorted({int(segments.case[row]) for own in rows.values() for row in own})
        return DrawnSupervoxels(rows, cases)

    return desk.once("examples", choose, depth=WHOLE)


def show_case(task: Task, desk: Desk) -> Content:
    """Make the panels of the supervoxels of a case that are drawn.

    Raises:
        EsegetaError: the case cannot be read.
    """
    session: ConceptSession = desk.job
    number, chosen = task.data["case"], chosen_examples(desk)
    opened = open_concepts(desk, number)
    desk.begin(task.name, [task])
    kept = [session.kept("regions", one) for one in range(len(session.cases))]
    segments = segments_of_all(kept)
    maps = segments_of(session, opened)
    for place, rows in chosen.rows.items():
        members = vectors_of(desk)[place].members
        for row in rows:
            if segments.case[row] != number:
                continue
            numbers = maps[int(segments.places[row, 3])]
            same = [
                int(segments.places[other, 4])
                for other in members
                if segments.case[other] == number
                and segments.places[other, 3] == segments.places[row, 3]
            ]
            own = numbers == int(segments.places[row, 4])
            all_own = torch.isin(numbers, torch.tensor(same, device=numbers.device))
            title = session.run.group_name(int(segments.places[row, 0]))
            chosen.panels[(place, row)] = panels_of(opened.volume, own, all_own & ~own, title)
    return {}


def draw_examples(task: Task, desk: Desk) -> Content:
    """Draw the figure of each discovered concept."""
    session: ConceptSession = desk.job
    chosen, vectors = chosen_examples(desk), vectors_of(desk)
    parts = distinct_parts(
        {at: f"{file_part(one.layer)}_{one.concept}" for at, one in enumerate(vectors)}
    )
    for place, rows in chosen.rows.items():
        one = vectors[place]
        path = session.run.folder / "discovered" / f"{parts[place]}.png"
        title = f"{one.layer}: {one.concept}, {one.num_examples} examples"
        if one.fit is not None:
            title += f", distinguished with accuracy {one.fit.accuracy:.2f}"
        names = ("an example", "others of the concept")
        with atomic_path(path) as temporary:
            draw_unit(temporary, title, names, [chosen.panels[(place, row)] for row in rows])
        written(desk).files.append(path)
    chosen.panels.clear()
    return {}


def _from_many_groups(one: Vectors, groups: np.ndarray) -> tuple[int, ...]:
    """Return the strongest examples, each of another case as far as there are any."""
    chosen: list[int] = []
    for row in one.members:
        if groups[row] not in groups[chosen]:
            chosen.append(row)
    chosen += [row for row in one.members if row not in chosen]
    return tuple(chosen[:SHOWN])
