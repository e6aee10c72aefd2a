"""Shapley values of concepts: each one's fair share of what all of them recover together."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

EXACT_UP_TO = 12
"""Concepts up to which every set of them is valued: 4096 sets."""

CoalitionWorth = Callable[[Sequence[int]], float]
"""From a set of concepts, ascending, to what it is worth."""


def shapley_values(
    worth: CoalitionWorth, count: int, *, samples: int, seed: int
) -> Float[np.ndarray, " M"]:
    """Return the Shapley value of each of some concepts; they add up to `v(all) - v(none)`.

        s_c = sum over sets S without c of |S|! (M - |S| - 1)! / M! * (v(S + c) - v(S))

    Exact up to 12 concepts; the mean over random orders of them beyond, whose sum is exact too.

    Args:
        worth: v of a set of concepts; it is asked once for each.
        count: M.
        samples: orders that are drawn beyond 12 concepts.
        seed: of the draw.

    Source: Yeh et al., On completeness-aware concept-based explanations (NeurIPS 2020), section 4.
    """
    known: dict[tuple[int, ...], float] = {}

    def value(chosen: tuple[int, ...]) -> float:
        if chosen not in known:
            known[chosen] = worth(chosen)
        return known[chosen]

    if count <= EXACT_UP_TO:
        return _exact(value, count)
    generator = np.random.default_rng([seed, 3])
    total = np.zeros(count)
    for _ in range(samples):
        before: list[int] = []
        for concept in generator.permutation(count).tolist():
            after = sorted([*before, concept])
            total[concept] += value(tuple(after)) - value(tuple(before))
            before = after
    return total / samples


def _exact(value: Callable[[tuple[int, ...]], float], count: int) -> Float[np.ndarray, " M"]:
    result = np.zeros(count)
    for bits in range(1 << count):
        chosen = tuple(place for place in range(count) if bits >> place & 1)
        size = len(chosen)
        for concept in range(count):
            # The weight of v(S) in the value of those inside S, and of those outside.
            if bits >> concept & 1:
                weight = math.factorial(size - 1) * math.factorial(count - size)
            else:
                weight = -math.factorial(size) * math.factorial(count - size - 1)
            result[concept] += weight / math.factorial(count) * value(chosen)
    return result
