"""A command cut into parts: which places belong to which, the same whenever it is asked."""

from __future__ import annotations

import heapq
import itertools
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from esegeta.errors import ConfigError
from esegeta.machine import MOST_COUNTED
from esegeta.plain_json import json_sha256, parse_json
from esegeta.volume import write_json
from esegeta.workflow.spread.folder import SharedFolder

PART = re.compile(r"\s*(-?\d+)\s*/\s*(-?\d+)\s*")


@dataclass(frozen=True)
class Part:
    """One of several parts.

    Args:
        number: which, counted from 1.
        count: how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read 3/16.

        Raises:
            ConfigError: it is no such thing.
        """
        found = PART.fullmatch(text)
        if found is None:
            raise ConfigError(
                f'--part: "{text}" is not valid', hint="give it as 3/16: the third of 16"
            )
        number, count = (int(one) for one in found.groups())
        if count < 1:
            raise ConfigError(f"--part: the number of parts must be at least 1 (found {count})")
        if count > MOST_COUNTED:
            raise ConfigError(
                f"--part: the number of parts must be at most {MOST_COUNTED} (found {count})"
            )
        if not 1 <= number <= count:
            raise ConfigError(
                f"--part: there is no part {number} of {count}",
                hint=f"parts are counted from 1 to {count}",
            )
        return cls(number, count)

    @property
    def name(self) -> str:
        """As it stands in file names."""
        return f"{self.number}-of-{self.count}"

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@dataclass(frozen=True)
class Lot:
    """What one process is handed at a time: a place, or some pieces of one.

    Args:
        place: such as a case.
        pieces: names of its own pieces, such as targets of the case; none where it is not split.
        cost: about what it costs.
    """

    place: str
    pieces: tuple[str, ...] = ()
    cost: float = field(default=0.0, compare=False)

    @property
    def names(self) -> frozenset[str]:
        """What a desk is asked for."""
        return frozenset(self.pieces or (self.place,))

    def __str__(self) -> str:
        return ", ".join(self.pieces) or self.place


def lots_of(
    places: Mapping[str, float], pieces: Mapping[str, Sequence[str]], count: int
) -> list[Lot]:
    """Return what so many processes are handed, the dearest first.

    A place stays whole while it costs no more than one process's share of all, c <= C / n. Else
    it is split into ceil(c n / C) lots of its pieces, should all then be done earlier. Since each
    lot makes again what its pieces share, which counts as much as a piece, one of k out of m
    pieces costs c (k + 1) / (m + 1).
    """
    whole = [Lot(name, cost=cost) for name, cost in places.items()]
    fair = sum(places.values()) / count
    split = [
        lot
        for name, cost in places.items()
        for lot in _split(name, cost, pieces.get(name, ()), fair)
    ]
    best = split if longest(split, count) < longest(whole, count) else whole
    return sorted(best, key=_dearest_first)


def _split(place: str, cost: float, pieces: Sequence[str], fair: float) -> list[Lot]:
    number = min(len(pieces), math.ceil(cost / fair)) if cost > fair > 0 else 1
    if number < 2:
        return [Lot(place, cost=cost)]
    # Neighbours stay together: they may share passes.
    bounds = [len(pieces) * k // number for k in range(number + 1)]
    return [
        Lot(place, tuple(pieces[a:b]), cost * (b - a + 1) / (len(pieces) + 1))
        for a, b in itertools.pairwise(bounds)
    ]


def longest(lots: Sequence[Lot], count: int) -> float:
    """Return what the process costs that is done last."""
    loads = dict.fromkeys(range(1, count + 1), 0.0)
    for lot, number in share_out(lots, count).items():
        loads[number] += lot.cost
    return max(loads.values())


def _dearest_first(lot: Lot) -> tuple[float, str]:
    return -lot.cost, str(lot)


def share_out(lots: Collection[Lot], count: int) -> dict[Lot, int]:
    """Return which part, counted from 1, each lot belongs to.

    The dearest first, each to the part that has least: no part costs more than 4/3 of what
    the best division would let the dearest part cost (Graham, 1969). Order plays no part.
    """
    loads = [(0.0, number) for number in range(1, count + 1)]
    shares = {}
    for lot in sorted(lots, key=_dearest_first):
        load, number = heapq.heappop(loads)
        shares[lot] = number
        heapq.heappush(loads, (load + lot.cost, number))
    return shares


def kept_shares(folder: SharedFolder, marks: Sequence[str], count: int) -> dict[Lot, int] | None:
    """Return the division that was written down, or None where there is none of these places.

    Args:
        folder: where it was written down.
        marks: what tells these places from others: their names, and what they may be split into.
        count: number of parts.
    """
    try:
        content = parse_json(folder.shares(count).read_bytes())
        if content["places_sha256"] == _print_of(marks):
            return {
                Lot(str(one["place"]), tuple(one["pieces"]), float(one["cost"])): int(one["part"])
                for one in content["lots"]
            }
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def keep_shares(
    folder: SharedFolder, marks: Sequence[str], lots: Collection[Lot], count: int
) -> dict[Lot, int]:
    """Return the division into parts; it is written down, for those who come later."""
    kept = kept_shares(folder, marks, count)
    if kept is not None:
        return kept
    shares = share_out(lots, count)
    # Whoever comes at the same time writes the same.
    kept_lots = [
        {"place": lot.place, "pieces": lot.pieces, "cost": lot.cost, "part": number}
        for lot, number in shares.items()
    ]
    write_json(folder.shares(count), {"places_sha256": _print_of(marks), "lots": kept_lots})
    return shares


def _print_of(marks: Sequence[str]) -> str:
    return json_sha256(sorted(marks))
