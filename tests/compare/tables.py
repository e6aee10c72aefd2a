"""Tables of scores from arrays, for tests of statistics."""

from __future__ import annotations

import numpy as np

from esegeta.compare.merge import Competitor, Entry, ScoreColumn
from esegeta.compare.score_table import ScoreTable, tabulate


def competitors_of(num: int, model: str = "m") -> list[Competitor]:
    """Return methods a, b, c ... of a model."""
    return [Competitor(model, chr(ord("a") + place)) for place in range(num)]


def table_of(
    values: np.ndarray,
    better: str = "lower",
    *,
    num_targets: int = 1,
    competitors: list[Competitor] | None = None,
    absent: np.ndarray | None = None,
    name: str = "s",
) -> ScoreTable:
    """Return a score's table.

    Args:
        values: tasks x competitors; row r is target r % num_targets of case r // num_targets.
        better: lower, higher or none.
        num_targets: of each case.
        competitors: of the columns.
        absent: tasks x competitors: where there is no value, not even an undefined one.
        name: of the score.
    """
    columns = competitors or competitors_of(values.shape[1])
    entries = [
        Entry(columns[column], f"c{row // num_targets}", f"t{row % num_targets}", float(value))
        for (row, column), value in np.ndenumerate(values)
        if absent is None or not absent[row, column]
    ]
    return tabulate(ScoreColumn(name, better, "faithfulness"), entries, columns)
