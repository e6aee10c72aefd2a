"""What is typical of a competitor on a score: median and quartiles over units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from esegeta.compare.merge import Competitor
from esegeta.compare.score_table import ScoreTable


@dataclass(frozen=True)
class Summary:
    """A competitor on one score, over all of its units.

    Args:
        competitor: which.
        num_defined: values that are numbers.
        num_undefined: values that are NaN.
        median: NaN where no value is a number, as are the quartiles.
        q1: the lower quartile.
        q3: the upper quartile.
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
