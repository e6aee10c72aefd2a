"""Criticisms: items that prototypes leave unexplained, each for another reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.examples.kernel import Kernel

SMALLEST = 1e-12
"""Of what is left of an item beside those that were chosen: an equal one is never chosen."""


@dataclass(frozen=True, eq=False)
class Criticisms:
    """Items that the prototypes do not explain.

    Args:
        chosen: their places, the worst explained of the first choice first.
        witness: of each: above zero there are more such items than prototypes stand for, below
            zero fewer.
    """

    chosen: tuple[int, ...]
    witness: tuple[float, ...]


def witness_of(kernel: Kernel, prototypes: Sequence[int]) -> Float[Tensor, " N"]:
    """Return the witness function of all items against the prototypes, at every item.

    f(x) = mean_i k(x_i, x) - mean_{s in S} k(s, x)
    """
    return kernel.mean(dim=0) - kernel[list(prototypes)].mean(dim=0)


def choose_criticisms(kernel: Kernel, prototypes: Sequence[int], count: int) -> Criticisms:
    """Choose greedily what maximises `sum_c |f(c)| + log det K_cc` among the other items.

    The determinant keeps criticisms unlike each other.

    Args:
        kernel: between all items.
        prototypes: their places.
        count: of criticisms, 0 to N - number of prototypes.

    Source: Kim, Khanna and Koyejo, Examples are not enough, learn to criticize!, 2016, algorithm 2.
    """
    witness = witness_of(kernel, prototypes)
    left = kernel.diagonal().clone()  # of each item beside those that were chosen
    factor = kernel.new_zeros((0, len(kernel)))
    barred = torch.zeros(len(kernel), dtype=torch.bool, device=kernel.device)
    barred[list(prototypes)] = True
    chosen: list[int] = []
    for _ in range(count):
        worth = witness.abs() + left.clamp(min=SMALLEST).log()
        best = int(worth.masked_fill(barred, -torch.inf).argmax())
        # A row of Cholesky's factor: log det K_cc grows by the log of what is left of an item.
        row = kernel[best] - (factor[:, best, None] * factor).sum(dim=0)
        row = row / left[best].clamp(min=SMALLEST).sqrt()
        factor = torch.cat([factor, row[None]])
        left = left - row**2
        barred[best] = True
        chosen.append(best)
    return Criticisms(tuple(chosen), tuple(float(witness[item]) for item in chosen))
