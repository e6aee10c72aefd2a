"""Centred kernel alignment from Gram matrices of a sample: of any kernel, and of drawn cases."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.similarity.alignment import LEAST_POSITIONS, normalised
from esegeta.similarity.layout import UnitLayout

Grams = Float[Tensor, "L N N"]


def linear_grams(data: Float[Tensor, "N D"], layout: UnitLayout) -> Grams:
    """Return the Gram matrix of each layer with the linear kernel, about the mean."""
    rows = data.double()
    rows = rows - rows.mean(dim=0)
    return torch.stack([rows[:, own] @ rows[:, own].T for own in layout.columns])


def rbf_grams(data: Float[Tensor, "N D"], layout: UnitLayout) -> Grams:
    """Return the Gram matrix of each layer with a Gaussian kernel as wide as the median distance.

        k(x, x') = exp(-|x - x'|^2 / (2 s^2)),   s the median of |x_i - x_j| over i < j

    NaN where that median is zero: most positions of the layer are the same.
    Source: Gretton et al. 2012, A Kernel Two-Sample Test, section 8, for the median.
    """
    grams = []
    above = torch.ones((len(data), len(data)), dtype=torch.bool, device=data.device).triu(1)
    for own in layout.columns:
        rows = data[:, own].double()
        # Not by way of the matrix product: of far-off points that rounds small distances away.
        distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
        width = _median(distances[above])
        width = width if width > 0 else torch.full_like(width, torch.nan)
        grams.append(torch.exp(-(distances**2) / (2 * width**2)))
    return torch.stack(grams)


def _median(values: Float[Tensor, " M"]) -> Float[Tensor, ""]:
    """Return the median, of an even number the mean of the two in the middle; NaN of none."""
    ranked, count = values.sort().values, len(values)
    return ranked[(count - 1) // 2 : count // 2 + 1].mean()


def gram_cka(grams: Grams) -> Float[Tensor, "L L"]:
    """Return the unbiased CKA of each pair of layers of one sample."""
    return normalised(gram_hsic(grams, grams))


def gram_hsic(grams: Grams, others: Grams) -> Float[Tensor, "L M"]:
    """Return HSIC_1 of layers of one sample and layers of another that is paired with it.

    See `unbiased_hsic`; NaN for fewer than four positions.
    """
    first = hollow(grams)
    return hollow_hsic(first, first if others is grams else hollow(others))


def hollow_hsic(first: Grams, second: Grams) -> Float[Tensor, "L M"]:
    """Return the same of Gram matrices whose diagonals are zero already."""
    count = first.shape[1]
    if count < LEAST_POSITIONS:
        return torch.full((len(first), len(second)), torch.nan, dtype=torch.float64)
    trace = first.flatten(1) @ second.flatten(1).T
    rows, columns = first.sum(dim=2), second.sum(dim=2)
    totals = torch.outer(rows.sum(dim=1), columns.sum(dim=1)) / ((count - 1) * (count - 2))
    return (trace + totals - 2 / (count - 2) * rows @ columns.T) / (count * (count - 3))


def hollow(grams: Grams) -> Grams:
    """Return Gram matrices with zeros in their diagonals."""
    found = grams.clone()
    found.diagonal(dim1=1, dim2=2).zero_()
    return found


@dataclass(frozen=True, eq=False)
class CaseGrams:
    """What drawing cases again needs from Gram matrices: sums within and between cases.

    Args:
        sizes: number of positions of each case.
        case: case of each position.
        traces: sums of products of two layers' entries, by pair of cases.
        rows: sums of each position's row, by case.
        diagonal: sum of products of two layers' diagonals, by case.
        own: diagonal of each layer.
    """

    sizes: Int[Tensor, " C"]
    case: Int[Tensor, " N"]
    traces: Float[Tensor, "L L C C"]
    rows: Float[Tensor, "L N C"]
    diagonal: Float[Tensor, "L L C"]
    own: Float[Tensor, "L N"]

    @classmethod
    def of(cls, grams: Grams, case: Int[Tensor, " N"], num_cases: int) -> CaseGrams:
        """Return the sums of Gram matrices whose positions belong to cases."""
        member = torch.nn.functional.one_hot(case, num_cases).double()
        own = grams.diagonal(dim1=1, dim2=2).clone()
        empty = hollow(grams)
        traces = torch.stack(
            [torch.stack([member.T @ (one * two) @ member for two in empty]) for one in empty]
        )
        diagonal = torch.einsum("ln,mn,nc->lmc", own, own, member)
        sizes = member.sum(dim=0).long()
        return cls(sizes, case, traces, empty @ member, diagonal, own)

    def cka(self, copies: Float[Tensor, " C"]) -> Float[Tensor, "L L"]:
        """Return the CKA where each case occurs so many times; copies count as other positions."""
        count = float((self.sizes * copies).sum())
        if count < LEAST_POSITIONS:
            return torch.full(self.traces.shape[:2], torch.nan, dtype=torch.float64)
        each = copies[self.case]
        trace = torch.einsum("lmcd,c,d->lm", self.traces, copies, copies)
        trace = trace + self.diagonal @ (copies * (copies - 1))
        rows = self.rows @ copies + self.own * (each - 1)
        totals = rows @ each
        both = (rows * each) @ rows.T
        found = trace + torch.outer(totals, totals) / ((count - 1) * (count - 2))
        return normalised(found - 2 / (count - 2) * both)
