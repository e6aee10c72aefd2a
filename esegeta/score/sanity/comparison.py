"""The map against other maps of the same method: how alike each is, and which of them failed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from esegeta.axes import Image
from esegeta.errors import EsegetaError
from esegeta.explain import Attribution

Measure = Callable[[Image, Image, tuple[float, ...]], float]
"""From two maps and their spacing to how alike they are; NaN where undefined."""

INCOMPARABLE = "a map is the same everywhere, or too small to be compared"


@dataclass(frozen=True)
class Comparison:
    """How alike the map is to another one.

    Args:
        other: what the other one is of, in words.
        similarities: by measure; NaN where undefined.
        failure: why there is no other map, or empty.
    """

    other: str
    similarities: dict[str, float]
    failure: str = ""


def compare(
    attribution: Attribution,
    other: str,
    explain: Callable[[], Attribution],
    *,
    measures: Mapping[str, Measure],
) -> Comparison:
    """Compare a map with another; where there is none, that is told and is no error.

    Args:
        attribution: the map.
        other: what the other one is of.
        explain: makes it.
        measures: by name.
    """
    try:
        found = explain().data
    except EsegetaError as error:
        return Comparison(other, dict.fromkeys(measures, math.nan), error.message)
    spacing_mm = attribution.volume.grid.spacing_mm
    values = {name: like(attribution.data, found, spacing_mm) for name, like in measures.items()}
    return Comparison(other, values)


def known(comparisons: Sequence[Comparison], measure: str) -> list[float]:
    """Return the similarities that are defined."""
    values = [comparison.similarities[measure] for comparison in comparisons]
    return [value for value in values if not math.isnan(value)]


def left_out(comparisons: Sequence[Comparison], measure: str) -> str:
    """Say which comparisons are undefined, and why; empty where none is."""
    missing = [item for item in comparisons if math.isnan(item.similarities[measure])]
    words = "; ".join(f"{item.other}: {item.failure or INCOMPARABLE}" for item in missing)
    return f"{len(missing)} of {len(comparisons)} are left out: {words}" if missing else ""
