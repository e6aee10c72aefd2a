"""How much one number tells about another: mutual information of bins, corrected for chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

NUM_BINS = 16
CODES_AT_A_TIME = 1 << 22


@dataclass(frozen=True, eq=False)
class Bins:
    """Bins of about equal content; a value common enough to fill a bin gets one to itself.

    A rectified unit is zero at most positions: zero is such a value.

    Args:
        edges: ascending; a value at an edge is in the bin above it.
        values: ascending; the edges that have a bin of their own.
    """

    edges: Float[Tensor, " E"]
    values: Float[Tensor, " A"]

    @classmethod
    def of(cls, sample: Float[Tensor, " N"], num_bins: int = NUM_BINS) -> Bins:
        """Return the bins of a sample, from its quantiles."""
        shares = torch.arange(1, num_bins, dtype=torch.float64) / num_bins
        quantiles = sample.double().cpu().quantile(shares).to(sample)
        found, counts = np.unique(quantiles.cpu().numpy(), return_counts=True)
        edges = torch.from_numpy(found).to(sample)
        return cls(edges, edges[torch.from_numpy(counts > 1).to(edges.device)])

    @property
    def count(self) -> int:
        """Number of bins."""
        return len(self.edges) + len(self.values) + 1

    def codes(self, values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
        """Return the bin of each value, counted from 0."""
        values = values.contiguous()
        return torch.searchsorted(self.edges, values, right=True) + torch.searchsorted(
            self.values, values
        )


@dataclass(frozen=True)
class Dependence:
    """What one number tells about another, against chance.

    Args:
        information: normalised mutual information, 0 (nothing) to 1 (each tells the other).
        chance: its mean over draws of chance.
        p: share of draws that reach it, itself counted among them.
    """

    information: float
    chance: float
    p: float

    @property
    def weight(self) -> float:
        """Information beyond chance, (I - chance) / (1 - chance), not below zero.

        Rounded, so that dependences that differ by the order of sums alone are equally strong.
        """
        if self.chance >= 1:
            return 0.0
        return round(max(self.information - self.chance, 0.0) / (1 - self.chance), 9)


def normalised_information(x: Int[Tensor, "D N"], y: Int[Tensor, " N"]) -> Float[Tensor, " D"]:
    """Return the mutual information of codes over the mean of their entropies, float64, in 0..1.

        2 I(x; y) / (H(x) + H(y))

    Args:
        x: codes from 0, a row for each draw; -1 where a row has none, which is left out.
        y: codes from 0, compared with each row.

    Returns:
        One number a row; 0 where x or y is constant, which tells nothing.

    Source: Kvalseth, IEEE Trans. SMC 17 (1987), equation 11; scikit-learn's
    `normalized_mutual_info_score`, but that two constants agree in nothing here.
    """
    num_x, num_y = int(x.max()) + 1, int(y.max()) + 1
    step = max(CODES_AT_A_TIME // x.shape[1], 1)
    found = []
    for start in range(0, len(x), step):
        rows = x[start : start + step].long()
        first = torch.arange(len(rows), device=x.device)[:, None] * num_x
        places = ((first + rows) * num_y + y)[rows >= 0]
        counts = torch.bincount(places, minlength=len(rows) * num_x * num_y)
        known = (rows >= 0).sum(dim=1).clamp(min=1)
        joint = counts.reshape(len(rows), num_x, num_y).double() / known[:, None, None]
        of_x, of_y = (entropy(joint.sum(dim=dim), axis=1) for dim in (2, 1))
        shared = of_x + of_y - entropy(joint.flatten(1), axis=1)
        ratio = 2 * shared.clamp(min=0) / (of_x + of_y)
        constant = (of_x == 0) | (of_y == 0)
        found.append(torch.where(constant, torch.zeros_like(ratio), ratio.clamp(max=1)))
    return torch.cat(found)


def dependence(x: Int[Tensor, " N"], y: Int[Tensor, " N"], drawn: Int[Tensor, "D N"]) -> Dependence:
    """Return how much x tells about y.

        p = (1 + draws with at least the information of x) / (1 + draws)

    Args:
        x: codes from 0.
        y: codes from 0, at the same positions.
        drawn: codes that x could as well have had, if it had nothing to do with y; -1 for none.

    Source: Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010), equation 2.
    """
    own = float(normalised_information(x[None], y)[0])
    chance = normalised_information(drawn, y)
    # Sums in another order are off by rounding: a draw that equals x must count as reaching it.
    reached = int((chance >= own - math.sqrt(torch.finfo(torch.float64).eps)).sum())
    return Dependence(own, float(chance.mean()), (1 + reached) / (1 + len(drawn)))


def entropy(shares: Tensor, *, axis: int) -> Tensor:
    """Return -sum p ln p along an axis, along which the shares add up to 1."""
    return -torch.xlogy(shares, shares).sum(dim=axis)
