"""Parameters of a test that meet in pairs: far fewer cases than all combinations."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest


def pairwise(**dimensions: Any) -> pytest.MarkDecorator:
    """Run a test until each value of each dimension has met each value of every other one.

    For dimensions of which no three can fail together; where they can, stack `parametrize`.
    """
    names = tuple(dimensions)
    rows = rows_of(*(list(values) for values in dimensions.values()))
    cases = [pytest.param(*row, id="-".join(map(label, row))) for row in rows]
    return pytest.mark.parametrize(names, cases)


def rows_of(*dimensions: list[Any]) -> list[tuple[Any, ...]]:
    """Return combinations, the one that covers most new pairs first, until all are covered."""
    places = list(product(*(range(len(values)) for values in dimensions)))
    axes = list(combinations(range(len(dimensions)), 2))
    pairs = {row: {(a, b, row[a], row[b]) for a, b in axes} for row in places}
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        row = max(places, key=lambda row: len(pairs[row] & missing))
        chosen.append(row)
        missing -= pairs[row]
    return [
        tuple(values[place] for values, place in zip(dimensions, row, strict=True))
        for row in sorted(chosen)
    ]


def label(value: Any) -> str:
    """Return how a value is called in a case's name."""
    return str(getattr(value, "name", None) or getattr(value, "__name__", None) or value)
