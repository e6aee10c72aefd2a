"""In which order processes take the tests, where each is given an equal number of neighbours.

xdist hands each process one part of the list, and what a process has left at the end of its part
to others that have nothing (`--dist worksteal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """Return tests such that each process begins with its share of the slow ones.

    Args:
        items: tests as they were collected.
        processes: how many there are.

    Returns:
        All tests. Slow ones are dealt out file by file, for files share what they set up.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    fast = [item for item in items if not item.get_closest_marker("slow")]
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    for place, (_, own) in enumerate(groupby(slow, key=lambda item: item.path)):
        shares[place % processes].extend(own)
    found: list[pytest.Item] = []
    for place, share in enumerate(shares):
        length = (len(items) - len(found)) // (processes - place)
        room = max(length - len(share), 0)
        found += [*share, *fast[:room]]
        fast = fast[room:]
    return found + fast
