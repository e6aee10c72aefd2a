"""p-values beyond the last draw: where few draws reach an overlap, the tail of the draws tells."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.dissection.chance import Overlaps, p_values
from esegeta.dissection.tally import OverlapTally

FEWEST_REACHED = 10
"""Draws that reach an overlap, from which on their share is p."""

TAIL_SHARE, FEWEST_IN_TAIL = 0.1, 50
"""The tail is this share of the draws, and so many at least must lie above where it begins."""

UNITS_AT_A_TIME = 64


def fewest_draws() -> int:
    """Return from how many draws on a tail is looked at."""
    return round(FEWEST_IN_TAIL / TAIL_SHARE)


def least_p(num_draws: int) -> float:
    """Return the smallest p that is told: of D draws 1 / D^2, or 1 / (D + 1) without a tail."""
    return 1 / (num_draws**2 if num_draws >= fewest_draws() else num_draws + 1)


def tail_p_values(observed: OverlapTally, drawn: Overlaps) -> Float[Tensor, "U K"]:
    """Return p-values, from the tail of the draws where fewer than ten of them reach the overlap.

        p = s exp(-(o - u) / m),   u: what a share s of the draws exceeds, by m in the mean

    An exponential tail is the heaviest that an overlap has, which its mask's size bounds; where
    the excesses vary more than an exponential's do, m is larger by that. Without it, no pair of a
    thousand has q below 0.05 unless twenty are beyond a thousand draws. p is at least 1 / D^2.

    Source: the idea of Knijnenburg et al., Bioinformatics 25 (2009), whose generalised Pareto
    tail may end before the overlap; here it never does.
    """
    p = p_values(observed, drawn)
    if len(drawn) < fewest_draws():
        return p
    step, both = UNITS_AT_A_TIME, observed.both
    starts = range(0, len(both), step)
    tail = torch.cat([_tail(drawn[:, at : at + step], both[at : at + step]) for at in starts])
    return torch.fmin(p, tail).masked_fill(p.isnan(), torch.nan)


def _tail(drawn: Overlaps, both: Int[Tensor, "U K"]) -> Float[Tensor, "U K"]:
    """Return p by the tail, NaN where it is not looked at."""
    num_draws = len(drawn)
    largest = drawn.topk(round(TAIL_SHARE * num_draws) + 1, dim=0).values.double()
    start, excess = largest[-1], largest[:-1] - largest[-1]
    mean = excess.mean(dim=0)
    variation = excess.var(dim=0, correction=0) / mean.square()
    beyond = (both - start) / (mean * variation.clamp(min=1.0))
    told = (excess > 0).sum(dim=0) >= FEWEST_IN_TAIL
    rare = (drawn >= both).sum(dim=0) < FEWEST_REACHED
    tail = (TAIL_SHARE * torch.exp(-beyond)).clamp(min=least_p(num_draws))
    return torch.where(told & rare & (beyond > 0), tail, torch.nan)
