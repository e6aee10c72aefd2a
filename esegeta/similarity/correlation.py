"""Canonical correlations of layers, from sums over positions: CCA, SVCCA and PWCCA.

With C the covariances and W whitening, W^T C W = 1, the canonical correlations of two layers are
the singular values of W_x^T C_xy W_y. Any invertible map of a layer's units leaves them as they
are, which is their strength and, of noisy units, their weakness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.similarity.alignment import is_still
from esegeta.similarity.moments import Moments

RANK = 1e-10
"""Directions of less than this part of the largest variance are rounding, and left out; units are
brought to one variance before."""
KEPT_VARIANCE = 0.99
"""The share of a layer's variance that SVCCA keeps."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """What makes the units of a layer uncorrelated and of variance one.

    Args:
        matrix: W, units by directions; the directions of most variance first.
    """

    matrix: Float[Tensor, "D R"]

    @property
    def rank(self) -> int:
        """Number of directions."""
        return int(self.matrix.shape[1])


def whitening(covariance: Float[Tensor, "D D"], *, kept: float = 1.0) -> Whitening:
    """Return the whitening of a layer.

    Args:
        covariance: covariance of its units, or any multiple of it.
        kept: share of the variance whose directions are kept, as few as hold it.
    """
    # Of all directions the scale of units is none of theirs; of those of most variance it is.
    scale = torch.ones_like(covariance.diagonal()) if kept < 1 else covariance.diagonal().sqrt()
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    values, vectors = torch.linalg.eigh(covariance / torch.outer(scale, scale))
    values, vectors = values.flip(0), vectors.flip(1)
    inside = values > RANK * values[:1].clamp(min=0)
    if kept < 1:
        shares = values.clamp(min=0).cumsum(0) / values.clamp(min=0).sum()
        before = torch.cat([shares.new_zeros(1), shares[:-1]])
        inside &= before < kept
    return Whitening(vectors[:, inside] / values[inside].sqrt() / scale[:, None])


def canonical_correlations(
    cross: Float[Tensor, "D E"], first: Whitening, second: Whitening
) -> Float[Tensor, " K"]:
    """Return the canonical correlations of two layers, the largest first.

    Args:
        cross: their cross-covariance, in the scale of the covariances that were whitened.
        first: whitening of the layer of the rows.
        second: whitening of the layer of the columns.
    """
    values: Tensor = torch.linalg.svdvals(first.matrix.T @ cross @ second.matrix)
    return values.clamp(max=1.0)


def projection_weighted(
    covariance: Float[Tensor, "D D"],
    cross: Float[Tensor, "D E"],
    first: Whitening,
    second: Whitening,
) -> float:
    """Return the canonical correlations' mean, weighted by what they explain of the first layer.

        alpha_k = sum_j |<h_k, x_j>|,   h_k = X W u_k,   PWCCA = sum_k alpha_k rho_k / sum_k alpha_k

    h_k are the canonical variates themselves, whitened as in the paper. Google's code
    (`svcca/pwcca.py`) takes X u_k for them, without W, and gets other weights.

    Source: Morcos et al. 2018, Insights on Representational Similarity in Neural Networks with
    Canonical Correlation, section 2 and equation 2.
    """
    left, values, _ = torch.linalg.svd(first.matrix.T @ cross @ second.matrix, full_matrices=False)
    alpha = (covariance @ first.matrix @ left).abs().sum(dim=0)
    return float((alpha * values.clamp(max=1.0)).sum() / alpha.sum())


class Whitened:
    """Layers with their whitenings, each found once for all pairs.

    Args:
        moments: of all layers at the positions of the rows.
        others: at those that they are paired with, of the columns.
    """

    def __init__(self, moments: Moments, others: Moments) -> None:
        self._moments = moments
        self._columns = moments.layout.columns
        self._still = is_still(moments).tolist(), is_still(others).tolist()
        self._sides = (moments, others) if others is not moments else (moments,)
        self._known: dict[float, tuple[list[Whitening], list[Whitening]]] = {}

    def cca(self, cross: Float[Tensor, "D D"]) -> Float[Tensor, "L L"]:
        """Return the mean canonical correlation of each pair of layers; see `cca`."""
        return self._means(cross, kept=1.0)

    def svcca(self, cross: Float[Tensor, "D D"]) -> Float[Tensor, "L L"]:
        """Return the same between the directions of most variance; see `svcca`."""
        return self._means(cross, kept=KEPT_VARIANCE)

    def pwcca(self, cross: Float[Tensor, "D D"]) -> Float[Tensor, "L L"]:
        """Return the weighted mean of each pair of layers; see `pwcca`."""

        def measure(row: int, column: int, first: Whitening, second: Whitening) -> float:
            own, other = self._columns[row], self._columns[column]
            covariance = self._moments.second[own, own]
            return projection_weighted(covariance, cross[own, other], first, second)

        return self._of_pairs(measure, kept=1.0)

    def _means(self, cross: Tensor, *, kept: float) -> Tensor:
        def measure(row: int, column: int, first: Whitening, second: Whitening) -> float:
            if column < row:
                return torch.nan  # filled in from the other side
            block = cross[self._columns[row], self._columns[column]]
            return float(canonical_correlations(block, first, second).mean())

        upper = self._of_pairs(measure, kept=kept)
        return torch.where(torch.ones_like(upper).triu() > 0, upper, upper.T)

    def _of_pairs(
        self, measure: Callable[[int, int, Whitening, Whitening], float], *, kept: float
    ) -> Tensor:
        own, others = self._whitenings(kept)
        found = torch.full((len(own), len(own)), torch.nan, dtype=torch.float64)
        for row, first in enumerate(own):
            for column, second in enumerate(others):
                enough = float(self._moments.count) > first.rank + second.rank
                if enough and not self._still[0][row] and not self._still[1][column]:
                    found[row, column] = measure(row, column, first, second)
        return found

    def _whitenings(self, kept: float) -> tuple[list[Whitening], list[Whitening]]:
        if kept not in self._known:
            sides = [
                [whitening(side.second[own, own], kept=kept) for own in self._columns]
                for side in self._sides
            ]
            self._known[kept] = sides[0], sides[-1]
        return self._known[kept]


def cca(moments: Moments) -> Float[Tensor, "L L"]:
    """Return the mean canonical correlation of each pair of layers, 0..1.

    NaN where there are no more positions than directions: any two layers then agree perfectly.
    Source: Raghu et al. 2017, SVCCA, section 2; Kornblith et al. 2019, section 6.
    """
    return Whitened(moments, moments).cca(moments.second)


def svcca(moments: Moments) -> Float[Tensor, "L L"]:
    """Return the same between the directions that hold 99 % of each layer's variance.

    Source: Raghu et al. 2017, SVCCA: Singular Vector Canonical Correlation Analysis, section 2.
    """
    return Whitened(moments, moments).svcca(moments.second)


def pwcca(moments: Moments) -> Float[Tensor, "L L"]:
    """Return the weighted mean of each pair of layers; rows say by which layer it is weighted."""
    return Whitened(moments, moments).pwcca(moments.second)


def num_directions(moments: Moments, *, kept: float = KEPT_VARIANCE) -> list[int]:
    """Return how many directions of each layer hold a share of its variance."""
    return [whitening(moments.second[own, own], kept=kept).rank for own in moments.layout.columns]
