"""Answers that were given, held so that they can be shown again without any work."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from esegeta.report.page import MapEntry
from esegeta.view.aim import Aim

HELD_BYTES = 256 * 2**20
"""Bytes of display copies; the latest answer is held whatever its size."""

AnswerKey = tuple[tuple[str, str], str]


@dataclass(frozen=True, eq=False)
class Answer:
    """A map for the page.

    Args:
        aim: target that was explained.
        method: name of the method.
        entry: entry for the page.
        volumes: gzipped NIfTI by id.
    """

    aim: Aim
    method: str
    entry: MapEntry
    volumes: Mapping[str, bytes] = field(repr=False)

    @property
    def key(self) -> AnswerKey:
        """The question that it answers."""
        return self.aim.key, self.method

    @property
    def size(self) -> int:
        """Bytes of its volumes."""
        return sum(map(len, self.volumes.values()))

    def describe(self) -> dict[str, Any]:
        """Return it as the page's script takes it."""
        values = asdict(self.entry)
        for key in ("bars", "bar_unit", "picture"):
            values.pop(key)
        return values


class Answers:
    """The answers that are held; those that nobody asked for longest are dropped first.

    Args:
        held_bytes: number of bytes to hold.
    """

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        self._held_bytes = held_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[AnswerKey, Answer] = OrderedDict()
        self._count = 0

    def new_id(self) -> str:
        """Return an id that no other answer has."""
        with self._lock:
            self._count += 1
            return f"a{self._count}"

    def known(self, aim: Aim, method: str) -> Answer | None:
        """Return the answer to a question that was asked before."""
        key = (aim.key, method)
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def find(self, identity: str) -> Answer | None:
        """Return an answer by its id."""
        with self._lock:
            return next((one for one in self._held.values() if one.entry.id == identity), None)

    def volume(self, identity: str) -> bytes | None:
        """Return a volume of an answer by its id."""
        with self._lock:
            for answer in self._held.values():
                if identity in answer.volumes:
                    return answer.volumes[identity]
        return None

    def hold(self, answer: Answer) -> None:
        """Hold an answer."""
        with self._lock:
            self._held[answer.key] = answer
            while len(self._held) > 1 and self._size > self._held_bytes:
                self._held.popitem(last=False)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._held.clear()

    @property
    def _size(self) -> int:
        return sum(answer.size for answer in self._held.values())
