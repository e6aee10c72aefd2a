"""Chance and spread: cases are paired again at random, and drawn again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.similarity.moments import Moments
from esegeta.similarity.positions import evenly

LEAST_CASES = 2
"""Fewest cases that can be paired in another way."""
BYTES, MB = 8, 2**20


def paired_rows(
    case: Int[Tensor, " N"], stratum: Int[Tensor, " N"], order: Int[Tensor, " C"]
) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"]]:
    """Pair the positions of each case with those of another one, label by label.

    Within a label positions are paired in their order, evenly where one case has more of them.

    Args:
        case: case of each position.
        stratum: number of its label.
        order: the case that each case is paired with.

    Returns:
        Rows on the left and rows on the right.
    """
    left, right = [], []
    labels = torch.unique(stratum).tolist()
    for mine, theirs in enumerate(order.tolist()):
        for label in labels:
            first = ((case == mine) & (stratum == label)).nonzero()[:, 0]
            second = ((case == theirs) & (stratum == label)).nonzero()[:, 0]
            count = min(len(first), len(second))
            left.append(first[evenly(len(first), count)])
            right.append(second[evenly(len(second), count)])
    return torch.cat(left), torch.cat(right)


def orders_of_cases(num_cases: int, draws: int, seed: int) -> Iterator[Int[Tensor, " C"]]:
    """Yield random orders of cases."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        yield torch.randperm(num_cases, generator=generator)


def share_reaching(
    observed: Float[Tensor, "L L"], null: Float[Tensor, "B L L"]
) -> Float[Tensor, "L L"]:
    """Return p: the share of draws that reach what was observed, which counts as one of them.

    Draws that are NaN count as reaching it; NaN where nothing was observed.
    """
    reached = ~(null < observed)  # a NaN reaches it
    p = (1 + reached.sum(dim=0)) / (1 + len(null))
    return torch.where(observed.isnan(), torch.nan, p.double())


def copies_of_cases(num_cases: int, draws: int, seed: int) -> Float[Tensor, "B C"]:
    """Return how often each case occurs in each bootstrap sample of as many cases."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_cases, (draws, num_cases), generator=generator)
    return torch.nn.functional.one_hot(drawn, num_cases).sum(dim=1).double()


def resampled(
    parts: Callable[[], Iterable[Moments]], copies: Float[Tensor, "B C"], *, room_mb: float
) -> Iterator[Moments]:
    """Yield the moments of each bootstrap sample; empty moments where it holds no position.

    Args:
        parts: makes the moments of each case anew, one by one; they are never all in memory.
        copies: number of copies of each case in each sample.
        room_mb: memory in MB for samples that are added up side by side.
    """
    first = next(iter(parts()))
    size_mb = first.layout.num_units**2 * BYTES / MB
    step = max(int(room_mb / max(size_mb, 1e-9)), 1)
    for some in torch.split(copies, step):
        totals = [Moments.nothing(first.layout) for _ in some]
        for number, part in enumerate(parts()):
            for place, row in enumerate(some):
                if row[number] > 0 and part.count > 0:
                    totals[place] = totals[place].plus(part.times(float(row[number])))
        yield from totals


def interval(
    values: Float[Tensor, "B L L"], *, level: float = 0.95
) -> tuple[Float[Tensor, "L L"], Float[Tensor, "L L"]]:
    """Return the ends of the percentile interval.

    NaN draws, such as those of cases that all lack a label, are left out.
    """
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=values.dtype)
    low, high = values.nanquantile(tails, dim=0)
    return low, high
