"""Prototypes: the few items that stand best for all, with how much better any others could.

    MMD^2(S) = mean_ij k(x_i, x_j) - 2 mean_i mean_{s in S} k(x_i, s) + mean_{s, t in S} k(s, t)

is the squared distance between all items and the chosen ones as distributions. Prototypes are taken
one by one, each where it is smallest, and are then exchanged as long as one exchange lowers it.
Where there are few choices, all of them are tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from esegeta.examples.kernel import Kernel

MOST_TRIED = 1 << 20
"""Numbers of the kernel that are looked at where all choices are tried."""
RANDOM_CHOICES = 200
"""That the choice is compared with."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Items that stand for all, those that stand for most of them first.

    Args:
        chosen: their places.
        shares: of all items, for which each of them is the nearest.
        mmd2: squared maximum mean discrepancy between all items and these.
        greedy_mmd2: the same before any was exchanged.
        random_mmd2: mean of it over random choices of as many items.
        reaches: of what the best choice of as many items would explain, the choice explains at
            least this part; 1 where all choices were tried.
    """

    chosen: tuple[int, ...]
    shares: tuple[float, ...]
    mmd2: float
    greedy_mmd2: float
    random_mmd2: float
    reaches: float


def choose_prototypes(kernel: Kernel, count: int) -> Prototypes:
    """Choose prototypes greedily, exchange them while that helps, and bound what could be gained.

    What a choice explains is mean_ij k - MMD^2, and no choice explains more than mean_ij k.

    Args:
        kernel: between all items.
        count: of prototypes, 1 to N.

    Source: Kim, Khanna and Koyejo, Examples are not enough, learn to criticize!, 2016, algorithm 1.
    Exchanges and bound are ours: theirs, 1 - 1/e, needs a kernel that is all but diagonal.
    """
    likeness = kernel.mean(dim=0)
    greedy = _greedy(kernel, likeness, count)
    tried = math.comb(len(kernel), count) * count**2 <= MOST_TRIED
    chosen = _best_of_all(kernel, likeness, count) if tried else None
    chosen = chosen or _exchanged(kernel, likeness, greedy)
    nearest = kernel[:, chosen].argmax(dim=1)
    shares = torch.bincount(nearest, minlength=count).double() / len(kernel)
    order = torch.argsort(shares, descending=True, stable=True).tolist()
    return Prototypes(
        chosen=tuple(chosen[place] for place in order),
        shares=tuple(float(shares[place]) for place in order),
        mmd2=discrepancy(kernel, chosen),
        greedy_mmd2=discrepancy(kernel, greedy),
        random_mmd2=_random_discrepancy(kernel, count),
        reaches=1.0 if tried else 1 - discrepancy(kernel, chosen) / float(kernel.mean()),
    )


def discrepancy(kernel: Kernel, chosen: Sequence[int]) -> float:
    """Return MMD^2 between all items and the chosen ones."""
    places = list(chosen)
    to_chosen = kernel[:, places].mean()
    return float(kernel.mean() - 2 * to_chosen + kernel[places][:, places].mean())


def _random_discrepancy(kernel: Kernel, count: int) -> float:
    generator = torch.Generator().manual_seed(0)
    draws = [
        torch.randperm(len(kernel), generator=generator)[:count].tolist()
        for _ in range(RANDOM_CHOICES)
    ]
    return sum(discrepancy(kernel, draw) for draw in draws) / len(draws)


def _greedy(kernel: Kernel, likeness: Float[Tensor, " N"], count: int) -> list[int]:
    """Take the item that makes the discrepancy smallest, one after the other."""
    chosen: list[int] = []
    to_chosen, inner = torch.zeros_like(likeness), 0.0
    gained = 0.0
    own = kernel.diagonal()
    for size in range(1, count + 1):
        # J(S) = 2/|S| sum_s likeness(s) - 1/|S|^2 sum_st k(s, t), which MMD^2 falls by.
        worth = 2 * (gained + likeness) / size - (inner + 2 * to_chosen + own) / size**2
        worth[chosen] = -torch.inf
        best = int(worth.argmax())
        inner += float(2 * to_chosen[best] + own[best])
        gained += float(likeness[best])
        to_chosen = to_chosen + kernel[best]
        chosen.append(best)
    return chosen


def _best_of_all(kernel: Kernel, likeness: Float[Tensor, " N"], count: int) -> list[int]:
    """Return the best of all choices."""
    choices = torch.combinations(torch.arange(len(kernel), device=kernel.device), count)
    inner = kernel[choices[:, :, None], choices[:, None, :]].mean(dim=(1, 2))
    worth = 2 * likeness[choices].mean(dim=1) - inner
    best: list[int] = choices[int(worth.argmax())].tolist()
    return best


def _exchanged(kernel: Kernel, likeness: Float[Tensor, " N"], greedy: Sequence[int]) -> list[int]:
    """Exchange one prototype for another item, the best exchange first, as long as one helps."""
    chosen, size = list(greedy), len(greedy)
    own = kernel.diagonal()
    now = _worth_of(kernel, likeness, chosen)
    while True:
        best, change = now + 1e-12, None
        for place in range(size):
            others = chosen[:place] + chosen[place + 1 :]
            inner = float(kernel[others][:, others].sum())
            to_others = kernel[others].sum(dim=0)
            gained = float(likeness[others].sum())
            worth = 2 * (gained + likeness) / size - (inner + 2 * to_others + own) / size**2
            worth[others] = -torch.inf
            item = int(worth.argmax())
            if float(worth[item]) > best:
                best, change = float(worth[item]), (place, item)
        if change is None:
            return chosen
        chosen[change[0]] = change[1]
        now = _worth_of(kernel, likeness, chosen)


def _worth_of(kernel: Kernel, likeness: Float[Tensor, " N"], chosen: Sequence[int]) -> float:
    places = list(chosen)
    return float(2 * likeness[places].mean() - kernel[places][:, places].mean())
