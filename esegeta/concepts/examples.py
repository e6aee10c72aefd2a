"""Examples of a concept in a layer: activations of its pieces and of their counter-pieces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Activations = Float[np.ndarray, "N K"]


@dataclass(frozen=True, eq=False)
class ByCase:
    """Means over the pieces of each case. Pieces of one case are alike: cases are what is drawn.

    Args:
        means: of each of C cases, `C *K`.
        counts: pieces of each.
    """

    means: Float[np.ndarray, "C *K"]
    counts: Int[np.ndarray, " C"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "N *K"], cases: Int[np.ndarray, " N"]) -> ByCase:
        """Return the means of values of pieces, case by case."""
        _, places, counts = np.unique(cases, return_inverse=True, return_counts=True)
        table = np.eye(len(counts))[places]
        return cls((table / counts).T @ values, counts)

    def along(self, direction: Float[np.ndarray, " K"]) -> ByCase:
        """Return the same of products with a direction."""
        return ByCase(self.means @ direction, self.counts)

    def p_above(self, mean: float) -> float:
        """Return the p, one-sided, that the mean over all pieces lies `mean` above zero by chance.

            t = mean / sqrt(C / (C - 1) * sum_c (n_c / N)^2 (m_c - m)^2),   C - 1 degrees of freedom

        Each case counts as one observation, however many pieces it has: of numbers, not vectors.

        Source: Liang and Zeger, Longitudinal data analysis using generalized linear models (1986),
        the variance of a mean of clusters.
        """
        from scipy import stats

        count = len(self.counts)
        shares = self.counts / self.counts.sum()
        apart = self.means - float(shares @ self.means)
        error = math.sqrt(count / (count - 1) * float(((shares * apart) ** 2).sum()))
        if error == 0:
            return 0.0 if mean > 0 else 1.0
        return float(stats.t.sf(mean / error, count - 1))


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

    @property
    def steps(self) -> ByCase:
        """The pieces' activations less the mean of their counter-pieces', case by case."""
        return ByCase.of(self.positives - self.counters.mean(axis=1), self.cases)

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
