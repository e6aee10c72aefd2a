"""Examples of concepts whose truth is known: units of noise, and what is added to the concept's."""

from __future__ import annotations

import numpy as np

from esegeta.concepts import Examples, Slopes


def examples(
    seed: int,
    *,
    units: int = 8,
    shift: dict[int, float] | None = None,
    cases: int = 6,
    pieces: int = 5,
    counters: int = 8,
    region: float = 0.0,
) -> Examples:
    """Return noise, with `shift` added to some units of the concept's pieces.

    Each case has an offset of its own, which pieces and counter-pieces share; and one of size
    `region` that the pieces alone share, as those of one region of a smooth map do.
    """
    generator = np.random.default_rng(seed)
    count = cases * pieces
    values = generator.normal(size=(count, counters + 1, units))
    values += 0.5 * generator.normal(size=(cases, 1, units)).repeat(pieces, axis=0)
    values[:, 0] += region * generator.normal(size=(cases, units)).repeat(pieces, axis=0)
    for unit, amount in (shift or {}).items():
        values[:, 0, unit] += amount
    return Examples(values[:, 0], values[:, 1:], np.arange(count) // pieces)


def slopes(seed: int, weights: list[float], *, cases: int = 6, spread: float = 0.1) -> Slopes:
    """Return slopes that are about the same in all cases; a weight of zero is zero everywhere."""
    generator = np.random.default_rng(seed)
    known = np.array(weights)
    noise = 1 + spread * generator.normal(size=(cases, len(weights)))
    return Slopes(known * noise, np.arange(cases))
