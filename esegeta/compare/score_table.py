"""One score of all competitors as a table: its means, spreads and ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import rankdata

from esegeta.compare.merge import Competitor, Entry, ScoreColumn

ColumnChoice = Bool[np.ndarray, " competitors"] | list[int]
"""Which columns are meant."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """All values of one score.

    Args:
        kind: the score.
        competitors: competitors, one per column.
        pairs: case and target of each row.
        values: NaN where a value is undefined or not there.
        present: where there is a value, even an undefined one.
    """

    kind: ScoreColumn
    competitors: tuple[Competitor, ...]
    pairs: tuple[tuple[str, str], ...]
    values: Float[np.ndarray, "pairs competitors"]
    present: Bool[np.ndarray, "pairs competitors"]

    @property
    def defined(self) -> Bool[np.ndarray, "pairs competitors"]:
        """Where a value is a number."""
        return np.asarray(np.isfinite(self.values))

    @property
    def losses(self) -> Float[np.ndarray, "pairs competitors"]:
        """The values, turned so that lower is better."""
        return -self.values if self.kind.better == "higher" else self.values

    def differences(
        self, rows: Bool[np.ndarray, " pairs"], first: int, second: int
    ) -> Float[np.ndarray, " chosen"]:
        """Return the first column minus the second in some rows; 0 where rounding explains it."""
        one, other = self.values[rows, first], self.values[rows, second]
        return np.where(are_tied(one, other, self.kind), 0.0, one - other)

    def shared_by(self, columns: ColumnChoice) -> Bool[np.ndarray, " pairs"]:
        """Return the rows in which all of some columns are defined."""
        return np.asarray(np.logical_and.reduce(self.defined[:, columns], axis=1))

    @property
    def num_cases(self) -> int:
        """Number of cases in which any value is a number."""
        return len(set(self.cases_of(np.asarray(self.defined.any(axis=1)))))

    def cases_of(self, rows: Bool[np.ndarray, " pairs"]) -> list[str]:
        """Return the case of each row that is chosen."""
        return [case for (case, _), chosen in zip(self.pairs, rows, strict=True) if chosen]

    def column(self, competitor: Competitor) -> int:
        """Return the column of a competitor."""
        return self.competitors.index(competitor)


ROUNDING = 1e-6
"""Two values that differ by less than this part of the larger one are ties."""

ROUNDING_OF_RANGE = 1e-9
"""The same near zero, as a part of a bounded score's range: 1 - 1 + 1e-16 must not count."""


def are_tied(
    one: Float[np.ndarray, "*any"], other: Float[np.ndarray, "*any"], kind: ScoreColumn
) -> Bool[np.ndarray, "*any"]:
    """Return where two values of a score differ by no more than rounding."""
    slack = ROUNDING * np.maximum(np.abs(one), np.abs(other))
    return np.asarray(np.abs(one - other) <= np.maximum(slack, ROUNDING_OF_RANGE * kind.span))


def ranks_of(
    losses: Float[np.ndarray, "cases k"], kind: ScoreColumn
) -> Float[np.ndarray, "cases k"]:
    """Return ranks in each case, 1 for the least; ties within rounding share their mean."""
    order = np.argsort(losses, axis=1, kind="stable")
    ascending = np.take_along_axis(losses, order, axis=1)
    apart = ~are_tied(ascending[:, 1:], ascending[:, :-1], kind)
    groups = np.concatenate([np.zeros((len(losses), 1)), apart.cumsum(axis=1)], axis=1)
    levels = np.empty_like(losses)
    np.put_along_axis(levels, order, groups, axis=1)
    return np.asarray(rankdata(levels, axis=1), dtype=float)


def tabulate(
    kind: ScoreColumn, entries: Sequence[Entry], competitors: Sequence[Competitor]
) -> ScoreTable:
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
    values: Float[np.ndarray, "pairs *columns"], cases: Sequence[str]
) -> tuple[tuple[str, ...], Float[np.ndarray, "cases *columns"]]:
    """Average rows over the targets of each case.

    Args:
        values: values with a row for each target of a case; no NaN.
        cases: case of each row.

    Returns:
        The cases that have a row, and a row for each.
    """
    rows: dict[str, list[int]] = {}
    for row, case in enumerate(cases):
        rows.setdefault(case, []).append(row)
    means = [values[own].mean(axis=0) for own in rows.values()]
    return tuple(rows), np.array(means).reshape(len(rows), *values.shape[1:])


@dataclass(frozen=True)
class Summary:
    """A competitor on one score, over all of its cases and targets.

    Args:
        competitor: the competitor.
        num_defined: number of values that are numbers.
        num_undefined: number of values that are NaN.
        median: median; NaN where no value is a number, as are the quartiles.
        q1: lower quartile.
        q3: upper quartile.
    """

    competitor: Competitor
    num_defined: int
    num_undefined: int
    median: float
    q1: float
    q3: float


def summarize(table: ScoreTable) -> Iterator[Summary]:
    """Yield the summary of each competitor; quartiles are interpolated linearly."""
    for place, competitor in enumerate(table.competitors):
        values = table.values[table.defined[:, place], place]
        quartiles = np.quantile(values, (0.5, 0.25, 0.75)) if values.size else np.full(3, np.nan)
        num_undefined = int(table.present[:, place].sum()) - values.size
        yield Summary(competitor, values.size, num_undefined, *map(float, quartiles))


COMMON_SHARE = 0.5
"""The share of a score's cases on which all ranked competitors must have a value."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Who comes first on a score, in each case.

    Args:
        competitors: competitors that are ranked; none where the score is not ranked.
        left_out: competitors with too many gaps to be ranked with the others.
        cases: cases in which all that are ranked have a value for the same targets.
        values: values averaged over those targets.
        ranks: ranks from 1, the best; ties have the mean of their ranks.
        refusal: reason why nothing is ranked, or empty.
    """

    competitors: tuple[Competitor, ...]
    left_out: tuple[Competitor, ...]
    cases: tuple[str, ...]
    values: Float[np.ndarray, "cases competitors"]
    ranks: Float[np.ndarray, "cases competitors"]
    refusal: str = ""

    def mean_ranks(self) -> dict[Competitor, float]:
        """Return the mean rank of each that is ranked."""
        if self.refusal:
            return {}
        return dict(zip(self.competitors, map(float, self.ranks.mean(axis=0)), strict=True))


def rank_competitors(table: ScoreTable) -> Ranking:
    """Rank the competitors of a score in each case.

    Mean ranks can be compared only over the same cases: a target counts where every ranked
    competitor has a value. While that leaves less than half of the cases, the competitor with the
    most gaps is left out. Values are averaged over the targets of a case before they are ranked.
    """
    if table.kind.refusal:
        return _refused(table.kind.refusal)
    if len(table.competitors) < 2:
        return _refused("there is only one competitor")
    kept = _kept(table)
    rows = table.shared_by(kept)
    if kept.sum() < 2 or not rows.any():
        return _refused("no case has values of two competitors")
    cases, losses = mean_by_case(table.losses[rows][:, kept], table.cases_of(rows))
    ranks = ranks_of(losses, table.kind)
    values = -losses if table.kind.better == "higher" else losses
    chosen = tuple(one for one, keep in zip(table.competitors, kept, strict=True) if keep)
    others = tuple(one for one, keep in zip(table.competitors, kept, strict=True) if not keep)
    return Ranking(chosen, others, cases, values, ranks)


def _kept(table: ScoreTable) -> Bool[np.ndarray, " competitors"]:
    kept = np.ones(len(table.competitors), dtype=bool)
    needed = COMMON_SHARE * len(set(table.cases_of(np.logical_or.reduce(table.defined, axis=1))))
    while kept.sum() > 1:
        common = table.cases_of(table.shared_by(kept))
        if common and len(set(common)) >= needed:
            break
        gaps = np.where(kept, (~table.defined).sum(axis=0), -1)
        # Of several with as many gaps the last goes: the order is the user's.
        kept[len(gaps) - 1 - int(np.argmax(gaps[::-1]))] = False
    return kept


def _refused(why: str) -> Ranking:
    empty = np.zeros((0, 0))
    return Ranking((), (), (), empty, empty, why)
