"""The values of one score as an array: a row a unit, a column a competitor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from esegeta.compare.merge import Competitor, Entry, Kind

Columns = Bool[np.ndarray, " competitors"] | list[int]
"""Which columns are meant."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """All values of one score.

    Args:
        kind: of the score.
        competitors: the columns.
        units: the rows: case and target.
        values: NaN where a value is undefined or not there.
        present: where there is a value, be it undefined.
    """

    kind: Kind
    competitors: tuple[Competitor, ...]
    units: tuple[tuple[str, str], ...]
    values: Float[np.ndarray, "units competitors"]
    present: Bool[np.ndarray, "units competitors"]

    @property
    def defined(self) -> Bool[np.ndarray, "units competitors"]:
        """Where a value is a number."""
        return np.asarray(np.isfinite(self.values))

    @property
    def losses(self) -> Float[np.ndarray, "units competitors"]:
        """The values, turned so that lower is better."""
        return -self.values if self.kind.better == "higher" else self.values

    def shared_by(self, columns: Columns) -> Bool[np.ndarray, " units"]:
        """Return the rows in which all of some columns are defined."""
        return np.asarray(np.logical_and.reduce(self.defined[:, columns], axis=1))

    def cases_of(self, rows: Bool[np.ndarray, " units"]) -> list[str]:
        """Return the case of each row that is chosen."""
        return [case for (case, _), chosen in zip(self.units, rows, strict=True) if chosen]

    def column(self, competitor: Competitor) -> int:
        """Return the column of a competitor."""
        return self.competitors.index(competitor)


def tabulate(kind: Kind, entries: Sequence[Entry], competitors: Sequence[Competitor]) -> ScoreTable:
    """Lay the values of a score out; competitors that have none have no column."""
    having = {entry.competitor for entry in entries}
    columns = {one: place for place, one in enumerate(c for c in competitors if c in having)}
    rows: dict[tuple[str, str], int] = {}
    for entry in entries:
        rows.setdefault((entry.case, entry.target), len(rows))
    values = np.full((len(rows), len(columns)), np.nan)
    present = np.zeros(values.shape, dtype=bool)
    for entry in entries:
        place = rows[entry.case, entry.target], columns[entry.competitor]
        values[place], present[place] = entry.value, True
    return ScoreTable(kind, tuple(columns), tuple(rows), values, present)


def mean_by_case(
    values: Float[np.ndarray, "units *columns"], cases: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "cases *columns"]]:
    """Average rows over the targets of each case.

    Args:
        values: a row a unit; no NaN.
        cases: of each row.

    Returns:
        The cases that have a row, and a row for each.
    """
    names = tuple(dict.fromkeys(cases))
    places = np.array([names.index(case) for case in cases], dtype=int)
    means = [values[places == place].mean(axis=0) for place in range(len(names))]
    return names, np.array(means).reshape(len(names), *values.shape[1:])
