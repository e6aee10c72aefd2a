"""Where to cut each unit's activations into bins, so that both lumps and long tails get edges.

Activations are not kept, so that all that is asked of a unit at every threshold is asked of counts
in bins. The edges lie at quantiles, the denser the fewer activations are above them; evenly over
the range, for gaps between lumps; and the denser the nearer to the bulk, for tails that outgrow
both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from esegeta.dissection.quantile import ordered_bits, values_of_bits

HALF_BITS = 16
BINS = 1 << HALF_BITS
SAMPLE = 1 << 13
"""Activations of each unit that the edges are laid out by, over all cases."""

LOWER = 47
"""Quantiles up to the median, evenly."""
UPPER, OCTAVES = 80, 11
"""Quantiles from the median on: the share above them halves from 1/2 to 2^-11 in even steps."""
EVEN = 64
TAIL, DECADES, TAIL_SHARE = 64, 6, 2**-7
NUM_EDGES = LOWER + UPPER + EVEN + TAIL
"""255: a bin's number is a byte."""


@dataclass(frozen=True, eq=False)
class BinEdges:
    """Bin edges of each unit's activations, ascending; a bin holds what exceeds exactly b of them.

    Args:
        centre: centre of each unit's activations.
        offsets: distance of each edge from the centre: the largest number with its upper 16 bits,
            so that a difference is above it exactly if its own upper bits are: finest near the
            centre, and nowhere coarser than 1/128 of the distance from it.
    """

    centre: Float[Tensor, " U"]
    offsets: Float[Tensor, "U E"]

    @property
    def num_bins(self) -> int:
        """One more than edges."""
        return int(self.offsets.shape[1]) + 1

    @property
    def values(self) -> Float[Tensor, "U E"]:
        """The edges as activations."""
        return self.centre[:, None] + self.offsets

    def of_units(self, rows: slice, device: torch.device) -> BinEdges:
        """Return the edges of some units."""
        return BinEdges(self.centre[rows].to(device), self.offsets[rows].to(device))

    def bins(self, values: Float[Tensor, "U N"]) -> UInt8[Tensor, "U N"]:
        """Return the bin of each activation: a look-up, several times as fast as a search."""
        # Numbers of 32 bits throughout: a look-up takes as long as what it moves.
        upper = _upper_half(values - self.centre[:, None])
        first = torch.arange(len(values), dtype=torch.int32, device=values.device)[:, None] * BINS
        places = upper.add_(first).reshape(-1)
        return self._table.reshape(-1).index_select(0, places).reshape(values.shape)

    @cached_property
    def _table(self) -> UInt8[Tensor, "U V"]:
        """The bin of each unit by the upper bits of a difference."""
        steps = torch.zeros(
            (len(self.offsets), BINS + 1), dtype=torch.uint8, device=self.offsets.device
        )
        places = _upper_half(self.offsets).long() + 1
        steps.scatter_add_(1, places, torch.ones_like(places, dtype=torch.uint8))
        return steps[:, :BINS].cumsum(dim=1, dtype=torch.uint8)


class Sketch:
    """Activations of each unit from all over the cases, from which the edges are laid out.

    Args:
        num_cases: number of cases that will be added; each gives equally many activations.
    """

    def __init__(self, num_cases: int) -> None:
        self._share = max(SAMPLE // num_cases, 1)
        self._taken: list[Tensor] = []

    def add(self, values: Float[Tensor, "U N"]) -> None:
        """Take some activations of the next case."""
        self.merge(self.take(values, len(self._taken)))

    def merge(self, taken: Float[Tensor, "U M"]) -> None:
        """Take in what `take` has returned of a case."""
        self._taken.append(taken)

    def taken(self) -> Float[Tensor, "U M"]:
        """Return what was taken in so far."""
        return torch.cat(self._taken, dim=1)

    def take(self, values: Float[Tensor, "U N"], case: int) -> Float[Tensor, "U M"]:
        """Return some activations of a case: one at random of each of equal stretches.

        Args:
            values: its activations.
            case: its number, which seeds the choice.
        """
        num_values = values.shape[1]
        if num_values <= self._share:
            return values.clone()
        # Evenly spaced ones would all lie in one plane of a volume whose axes divide the step.
        generator = torch.Generator().manual_seed(case)
        draws = torch.rand(self._share, generator=generator, dtype=torch.float64)
        places = (torch.arange(self._share) + draws) * num_values / self._share
        places = places.long().clamp(max=num_values - 1)
        return values[:, places.to(values.device)]

    def bin_edges(self, minimum: Float[Tensor, " U"], maximum: Float[Tensor, " U"]) -> BinEdges:
        """Return the edges.

        Args:
            minimum: smallest activation of each unit.
            maximum: largest activation of each unit.
        """
        taken = self.taken().sort(dim=1).values
        last = taken.shape[1] - 1
        lower = torch.arange(1, LOWER + 1, dtype=torch.float64) / (2 * LOWER)
        upper = 1 - 2 ** -torch.linspace(1, OCTAVES, UPPER, dtype=torch.float64)
        shares = torch.cat([lower, upper]).to(taken.device)
        start = taken[:, round((1 - TAIL_SHARE) * last), None]
        even = torch.arange(EVEN, device=taken.device) / EVEN
        tail = 10 ** (-DECADES * torch.arange(TAIL, device=taken.device) / TAIL)
        found = [
            taken[:, (shares * last).round().long()],
            torch.lerp(minimum[:, None], maximum[:, None], even),
            torch.lerp(start, maximum[:, None], tail),
        ]
        centre = taken[:, last // 2]
        largest = torch.finfo(centre.dtype).max
        offsets = torch.cat(found, dim=1).sort(dim=1).values - centre[:, None]
        offsets = offsets.nan_to_num(largest, largest, -largest)
        return BinEdges(centre, values_of_bits(ordered_bits(offsets) | (BINS - 1)))


def _upper_half(differences: Tensor) -> Int[Tensor, "*any"]:
    return (ordered_bits(differences) >> HALF_BITS).add_(BINS // 2)
