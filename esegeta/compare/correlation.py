"""Do scores agree? Spearman's rank correlation between every two of them, over tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from esegeta.compare.merge import Competitor, ScoreColumn
from esegeta.compare.score_table import ScoreTable

FEWEST_TASKS = 3
"""With two values the correlation is always 1 or -1."""

ComparedPlace = tuple[Competitor, str, str]


@dataclass(frozen=True)
class Correlation:
    """Two scores.

    Args:
        first: one of them.
        second: the other.
        num_tasks: number of tasks (competitor, case and target) that both have a value for.
        rho: correlation over all of these at once; NaN if a score is constant or there are too few.
        num_groups: number of cases and targets of a model with enough methods.
        rho_within: mean over these groups of the correlation across methods.
    """

    first: ScoreColumn
    second: ScoreColumn
    num_tasks: int
    rho: float
    num_groups: int
    rho_within: float

    @property
    def turn(self) -> int:
        """1 or -1: the sign that makes a correlation positive where both agree on what is better.

        Of a score that has no better direction, high counts as better.
        """
        return -1 if (self.first.better == "lower") != (self.second.better == "lower") else 1


def correlate(tables: Sequence[ScoreTable]) -> tuple[Correlation, ...]:
    """Correlate every two scores over the tasks that both have a value for.

    Pooled over all tasks, two scores also agree if both only separate large targets from
    small ones; within a case and target the methods alone differ.
    """
    known = {table.kind: _values(table) for table in tables}
    return tuple(
        _correlate(one, other, known[one], known[other]) for one, other in combinations(known, 2)
    )


def spearman(x: Float[np.ndarray, " tasks"], y: Float[np.ndarray, " tasks"]) -> float:
    """Return Spearman's rho, ties having the mean of their ranks; NaN where it is undefined."""
    if len(x) < FEWEST_TASKS:
        return float("nan")
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (x, y))
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale else float("nan")


def _values(table: ScoreTable) -> dict[ComparedPlace, float]:
    return {
        (table.competitors[column], *table.pairs[row]): float(table.values[row, column])
        for row, column in zip(*np.nonzero(table.defined), strict=True)
    }


def _correlate(
    first: ScoreColumn,
    second: ScoreColumn,
    one: dict[ComparedPlace, float],
    other: dict[ComparedPlace, float],
) -> Correlation:
    common = [place for place in one if place in other]
    x = np.array([one[place] for place in common])
    y = np.array([other[place] for place in common])
    groups: dict[tuple[str, str, str], list[int]] = {}
    for index, (competitor, case, target) in enumerate(common):
        groups.setdefault((competitor.model, case, target), []).append(index)
    within = [spearman(x[places], y[places]) for places in groups.values()]
    within = [rho for rho in within if np.isfinite(rho)]
    mean = float(np.mean(within)) if within else float("nan")
    return Correlation(first, second, len(common), spearman(x, y), len(within), mean)
