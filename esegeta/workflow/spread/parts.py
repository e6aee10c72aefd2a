"""A command cut into parts: which places belong to which, the same whenever it is asked."""

from __future__ import annotations

import hashlib
import heapq
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from esegeta.errors import ConfigError
from esegeta.plain_json import parse_json
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
            raise ConfigError(f'--part: found "{text}"', hint="give it as 3/16: the third of 16")
        number, count = (int(one) for one in found.groups())
        if count < 1:
            raise ConfigError(f"--part: {count} parts", hint="there must be at least 1")
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


def share_out(places: Mapping[str, float], count: int) -> dict[str, int]:
    """Return which part, counted from 1, each place belongs to.

    The dearest place first, each to the part that has least: no part costs more than 4/3 of what
    the best division would let the dearest part cost (Graham, 1969). Order plays no part.
    """
    loads = [(0.0, number) for number in range(1, count + 1)]
    shares = {}
    for name in sorted(places, key=lambda name: (-places[name], name)):
        load, number = heapq.heappop(loads)
        shares[name] = number
        heapq.heappush(loads, (load + places[name], number))
    return shares


def kept_shares(folder: SharedFolder, names: list[str], count: int) -> dict[str, int] | None:
    """Return the division that was written down, or None where there is none of these places."""
    try:
        content = parse_json(folder.shares(count).read_bytes())
        if content["places_sha256"] == _print_of(names):
            shares: dict[str, int] = content["parts"]
            return shares
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def keep_shares(folder: SharedFolder, places: Mapping[str, float], count: int) -> dict[str, int]:
    """Return the division into parts; it is written down, for those who come later."""
    kept = kept_shares(folder, list(places), count)
    if kept is not None:
        return kept
    shares = share_out(places, count)
    # Whoever comes at the same time writes the same.
    write_json(folder.shares(count), {"places_sha256": _print_of(list(places)), "parts": shares})
    return shares


def _print_of(names: list[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(names)).encode()).hexdigest()
