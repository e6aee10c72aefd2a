"""The exact threshold of each unit: a quantile of its activations over a whole data set.

Activations come a case at a time and are not kept. Two ways give the same number to the last bit:
a buffer of the largest values, one pass over the cases; or histograms of the values' bits, three
passes in a memory that does not grow with the data. What some activations come to can be taken by
one process and merged by another, in any order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from esegeta.errors import ConfigError

UnitValues = Float[Tensor, "U N"]
"""Activations of units at some positions."""

ThresholdValues = Float[Tensor, " U"]
"""One threshold a unit."""

DIGITS = (11, 11, 10)
"""Bits of a float32 that are counted at a time: 16 KB a unit, less than most buffers."""

BYTES_OF_FLOAT, BYTES_OF_COUNT = 4, 8
LONG, FEW, SAMPLE, SURPLUS = 1 << 15, 16, 1 << 12, 4
"""Of so many values, or more, the largest of this share or less are looked for among those that
exceed a quantile of a sample: so many standard deviations below the one that is wanted."""

COPIES = 3
"""Buffers of largest values that are held at a time while new ones join."""


def rank_of(num_values: int, quantile: float) -> int:
    """Return which of `n` values, counted from the largest, is the threshold.

        k = n - ceil((1 - q) n) + 1

    so that at most `q n` values lie above it. The quantile counts as the decimal that it is
    written as: 0.005 is five thousandths.

    Raises:
        ConfigError: there are no values, or the quantile is not between 0 and 1.
    """
    if not 0 < quantile < 1 or num_values < 1:
        raise ConfigError(f"quantile: {quantile:g} of {num_values} values gives no threshold")
    return num_values - math.ceil((1 - Fraction(repr(quantile))) * num_values) + 1


@runtime_checkable
class ThresholdFinder(Protocol):
    """Finds the k-th largest value of each unit in a few passes over the same activations."""

    num_passes: int

    def take(self, values: UnitValues) -> Tensor:
        """Return what some activations come to in this pass; nothing is taken in."""

    def merge(self, taken: Tensor) -> None:
        """Take in what `take` has returned, here or elsewhere, in any order."""

    def end_pass(self) -> None:
        """Note that all activations have been seen once more."""

    def thresholds(self) -> ThresholdValues:
        """Return the thresholds, after the last pass."""

    def state(self) -> dict[str, Tensor]:
        """Return what is known between passes."""

    def resume(self, num_passes: int, state: Mapping[str, Tensor]) -> None:
        """Go on after so many passes from what was known then."""


def threshold_finder(num_units: int, rank: int, *, memory_mb: float) -> ThresholdFinder:
    """Return the buffer of largest values where it fits into the memory, else histograms."""
    buffer_mb = COPIES * num_units * rank * BYTES_OF_FLOAT / 2**20
    return LargestValues(rank) if buffer_mb <= memory_mb else BitHistograms(num_units, rank)


class LargestValues:
    """Keeps the k largest values of each unit; one pass.

    Once there are k, only what exceeds the smallest of them can join, and waits until it is half
    as much as is kept: of many cases each is looked through, and few are sorted out.

    Args:
        rank: k, counted from 1.
    """

    num_passes = 1

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self._kept: Tensor | None = None
        self._level: Tensor | None = None
        self._waiting: list[Tensor] = []

    def take(self, values: UnitValues) -> Float[Tensor, "U K"]:
        """Return the largest of some values; -Inf fills up where fewer can be of use."""
        if self._level is not None:
            values = _exceeding(values, self._level)
        return _largest(values, self.rank)

    def merge(self, taken: Float[Tensor, "U K"]) -> None:
        """Keep the largest of these and of those that are kept."""
        if self._level is not None:
            taken = _exceeding(taken, self._level)
        self._waiting.append(taken)
        if self._level is None or sum(one.shape[1] for one in self._waiting) > self.rank // 2:
            self._join()

    def end_pass(self) -> None:
        """One pass is all."""

    def thresholds(self) -> ThresholdValues:
        """Return the smallest of the values that are kept."""
        self._join()
        assert self._kept is not None and self._kept.shape[1] == self.rank
        return self._kept.amin(dim=1) + 0.0  # no negative zero

    def state(self) -> dict[str, Tensor]:
        """Return the values that are kept."""
        self._join()
        return {} if self._kept is None else {"kept": self._kept}

    def resume(self, num_passes: int, state: Mapping[str, Tensor]) -> None:
        """Keep these."""
        self._kept, self._level, self._waiting = state["kept"], None, []

    def _join(self) -> None:
        """Let those that wait join those that are kept."""
        if not self._waiting:
            return
        known = [] if self._kept is None else [self._kept]
        self._kept = _largest(torch.cat([*known, *self._waiting], dim=1), self.rank)
        self._waiting = []
        if self._kept.shape[1] == self.rank:
            self._level = self._kept.amin(dim=1)


class BitHistograms:
    """Counts values by their bits, a digit at a time from the highest; three passes.

    The bits of a float32, read as an integer whose negative half is turned over, are in the order
    of the values. Each pass finds one digit of the k-th largest value, and the next one counts
    the values that share all digits so far.

    Args:
        num_units: U.
        rank: k, counted from 1.
    """

    num_passes = len(DIGITS)

    def __init__(self, num_units: int, rank: int) -> None:
        self._rank = torch.full((num_units,), rank)
        self._known = torch.zeros(num_units, dtype=torch.int64)
        self._pass = 0
        self._counts: Tensor | None = None

    def take(self, values: UnitValues) -> Int[Tensor, "U D"]:
        """Count some values by the digit that this pass is about."""
        num_units, size = len(self._rank), 1 << DIGITS[self._pass]
        keys = ordered_bits(values) >> sum(DIGITS[self._pass + 1 :])
        first = torch.arange(num_units, dtype=torch.int32, device=values.device)[:, None] * size
        places = (keys & (size - 1)) + first
        shared = (keys >> DIGITS[self._pass]) == self._known.to(values.device)[:, None]
        if self._pass == 0:  # the highest digit has the sign, and nothing is known before it
            places, shared = keys + size // 2 + first, torch.ones_like(shared)
        counts = torch.bincount(places[shared], minlength=num_units * size)
        return counts.reshape(num_units, size)

    def merge(self, taken: Int[Tensor, "U D"]) -> None:
        """Add counts up."""
        self._counts = taken if self._counts is None else self._counts + taken

    def end_pass(self) -> None:
        """Find the digit that this pass was about."""
        assert self._counts is not None
        size = 1 << DIGITS[self._pass]
        digit, rank = _bin_of_rank(self._counts.cpu(), self._rank)
        self._known = digit - size // 2 if self._pass == 0 else self._known * size + digit
        self._rank, self._counts = rank, None
        self._pass += 1

    def thresholds(self) -> ThresholdValues:
        """Return the value with the digits that were found."""
        assert self._pass == len(DIGITS)
        return values_of_bits(self._known)

    def state(self) -> dict[str, Tensor]:
        """Return the digits that are known, and the rank among the values that share them."""
        return {"known": self._known, "rank": self._rank}

    def resume(self, num_passes: int, state: Mapping[str, Tensor]) -> None:
        """Go on from these."""
        self._known, self._rank = state["known"].cpu(), state["rank"].cpu()
        self._pass = num_passes


def ordered_bits(values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Return int32 keys in the order of float32 values; both zeros have the same one."""
    bits = (values + 0.0).view(torch.int32)
    return (bits >> 31).bitwise_and_(0x7FFFFFFF).bitwise_xor_(bits)


def values_of_bits(keys: Int[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Undo `ordered_bits`."""
    bits = keys.to(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(torch.float32)


def _exceeding(values: UnitValues, level: ThresholdValues) -> Float[Tensor, "U M"]:
    """Return the values of each unit above a level; -Inf behind those of units with fewer."""
    if values.device.type != "cpu":
        above = ~(values <= level[:, None])
        counts = above.sum(dim=1)
        places = torch.arange(int(counts.max()), device=values.device)
        found = values.new_full((len(values), len(places)), -math.inf)
        found[places < counts[:, None]] = values[above]
        return found
    # On a CPU NumPy compares and picks several times as fast.
    data = values.numpy()
    chosen = ~(data <= level.numpy()[:, None])
    lengths = np.count_nonzero(chosen, axis=1)
    width = lengths.max()
    result = np.full((len(data), width), -np.inf, data.dtype)
    result[np.arange(width) < lengths[:, None]] = data[chosen]
    return torch.from_numpy(result)


def _largest(values: UnitValues, count: int) -> Float[Tensor, "U K"]:
    """Return so many of the largest values of each unit, in any order; all where they are fewer."""
    rest = values.shape[1] - count
    if rest <= 0:
        return values
    if values.device.type != "cpu":
        return values.topk(count, sorted=False).values
    # On a CPU this is several times as fast as `topk`, which keeps track of places.
    data = values.numpy()
    if values.shape[1] >= LONG and count * FEW <= values.shape[1]:
        return torch.from_numpy(np.stack([_largest_of_long(row, count) for row in data]))
    return torch.from_numpy(np.partition(data, rest, axis=1)[:, rest:].copy())


def _largest_of_long(row: np.ndarray, count: int) -> np.ndarray:
    """Return so many of the largest of many values: of those above what a sample lets expect.

    Where the sample has misled, or too many are alike, all are looked at.
    """
    sample = row[:: len(row) // SAMPLE]
    share = count / len(row) * len(sample)
    place = max(len(sample) - math.ceil(share + SURPLUS * math.sqrt(share) + 1), 0)
    level = np.partition(sample, place)[place]
    found = row[np.flatnonzero(row >= level)]
    if len(found) < count:
        found = row
    return np.partition(found, len(found) - count)[len(found) - count :]


def _bin_of_rank(counts: Tensor, rank: Tensor) -> tuple[Tensor, Tensor]:
    """Return the bin of each row that holds its k-th largest entry, and its rank in that bin."""
    from_top = counts.flip(1).cumsum(1)
    place = torch.searchsorted(from_top, rank[:, None]).clamp(max=counts.shape[1] - 1)
    before = from_top.gather(1, (place - 1).clamp(min=0))
    above = torch.where(place > 0, before, torch.zeros_like(before))
    return counts.shape[1] - 1 - place[:, 0], rank - above[:, 0]
