"""Which concepts tell false positives from true ones: derivatives of their components compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from esegeta.concepts.tcav import p_of_one_more


@dataclass(frozen=True)
class Contrast:
    """How a concept acts on false components and on true ones.

    Args:
        difference: mean derivative of false components less that of true ones.
        false_mean: of the false ones.
        true_mean: of the true ones.
        p: two-sided, by permutation over components.
        p_random: two-sided, that the difference is a random concept's.
    """

    difference: float
    false_mean: float
    true_mean: float
    p: float
    p_random: float

    @property
    def p_larger(self) -> float:
        """The larger of the two: components differ along it, and more than along any direction."""
        return max(self.p, self.p_random)


def contrast(
    derivatives: Float[np.ndarray, " U"],
    is_false: Bool[np.ndarray, " U"],
    randoms: Float[np.ndarray, "R U"],
    *,
    permutations: int,
    seed: int,
) -> Contrast:
    """Compare the derivatives of false components with those of true ones.

    Under the null which components are false could be drawn by lot:
    `p = (1 + #{|difference| as large}) / (1 + permutations)`. Where a network treats false
    components in a way of its own they differ along any direction a little: `p_random` holds the
    difference against those of random concepts.

    Args:
        derivatives: of each component, in a unit that does not depend on its size.
        is_false: which components no ground truth meets; there are some of either kind.
        randoms: derivatives along R random concepts in the same places.
        permutations: of the components.
        seed: of the permutations.
    """
    observed = _difference(derivatives, is_false)
    generator = np.random.default_rng([seed, 5])
    shuffled = [generator.permutation(is_false) for _ in range(permutations)]
    drawn = np.array([_difference(derivatives, one) for one in shuffled])
    slack = 1e-12 * max(float(np.abs(derivatives).max()), 1e-300)
    as_large = int((np.abs(drawn) >= abs(observed) - slack).sum())
    return Contrast(
        observed,
        float(derivatives[is_false].mean()),
        float(derivatives[~is_false].mean()),
        (1 + as_large) / (1 + permutations),
        p_of_one_more(observed, np.array([_difference(one, is_false) for one in randoms])),
    )


def _difference(derivatives: Float[np.ndarray, " U"], is_false: Bool[np.ndarray, " U"]) -> float:
    return float(derivatives[is_false].mean() - derivatives[~is_false].mean())
