"""Edited copies of one image, as windows see them, and which of them are to be run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

from torch import Tensor

from esegeta.predict import Box


class Edits(ABC):
    """Edited copies of one image, as windows see them."""

    @abstractmethod
    def __len__(self) -> int:
        """Return how many there are."""

    @abstractmethod
    def touching(self, window: int) -> Mapping[int, Hashable]:
        """Return which edits change a window, each with a key: equal keys, equal crops."""

    @abstractmethod
    def apply(self, edit: int, crop: Tensor, box: Box) -> None:
        """Edit a crop `C *W` in place; its box is in voxels of the padded volume."""


class Run(NamedTuple):
    """One window to be run, under an edit or, for None, as it is."""

    window: int
    edit: int | None


def runs_of(touching: Mapping[int, Mapping[int, Hashable]]) -> Iterator[Run]:
    """Yield each window that is touched, as it is and under each edit that touches it."""
    for window, keys in touching.items():
        if keys:
            yield Run(window, None)
            yield from (Run(window, edit) for edit in keys)
