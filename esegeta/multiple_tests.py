"""P-values that hold for a whole family of tests."""

from __future__ import annotations

import math
from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down; NaN, of what was not tested, counts as one test.

        p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)),    p_(1) <= ... <= p_(m)

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979.
    """
    count = len(p_values)
    known = [math.inf if math.isnan(p) else p for p in p_values]
    adjusted = [math.nan] * count
    highest = 0.0
    for rank, place in enumerate(sorted(range(count), key=lambda place: known[place])):
        if math.isinf(known[place]):
            break
        highest = max(highest, min((count - rank) * known[place], 1.0))
        adjusted[place] = highest
    return adjusted
