"""Examples of a concept in a layer: activations of its pieces and of their counter-pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Activations = Float[np.ndarray, "N K"]


@dataclass(frozen=True, eq=False)
class Examples:
    """What a layer sees of a concept, over all cases.

    Args:
        positives: activations of N pieces of the concept.
        counters: of the Q counter-pieces of each.
        cases: the number of each piece's case.
    """

    positives: Float[np.ndarray, "N K"]
    counters: Float[np.ndarray, "N Q K"]
    cases: Int[np.ndarray, " N"]

    @classmethod
    def of(cls, parts: Sequence[Examples]) -> Examples:
        """Return the examples of several cases."""
        return cls(
            np.concatenate([part.positives for part in parts]),
            np.concatenate([part.counters for part in parts]),
            np.concatenate([part.cases for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.positives)

    @property
    def num_cases(self) -> int:
        """Number of cases that hold a piece."""
        return len(np.unique(self.cases))

    def draw(self, generator: np.random.Generator) -> Activations:
        """Return one counter-piece of each piece, drawn at random."""
        rows = np.arange(len(self))
        return self.counters[rows, generator.integers(self.counters.shape[1], size=len(self))]

    def draw_random_concept(
        self, generator: np.random.Generator
    ) -> tuple[Activations, Activations]:
        """Return a random concept: one counter-piece of each piece, against another one of it."""
        rows, count = np.arange(len(self)), self.counters.shape[1]
        first = generator.integers(count, size=len(self))
        other = (first + generator.integers(1, count, size=len(self))) % count
        return self.counters[rows, first], self.counters[rows, other]
