"""One network that is trained, and the random numbers of its training.

Everything random about a training is derived from its seed and fold alone. So networks of one
seed and fold start from the same weights and see the same patches, whatever their images lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.retraining.removal import REFERENCE, UNTOUCHED, Removal


class Stream(IntEnum):
    """What random numbers are for; each use has a sequence of its own."""

    WEIGHTS = 0
    PATCHES = 1
    DROPOUT = 2
    TIES = 3


def seed_of(stream: Stream, *numbers: int) -> int:
    """Return a seed for one use, such as the weights of (seed, fold)."""
    sequence = np.random.SeedSequence([int(stream), *numbers])
    return int(sequence.generate_state(1)[0])


@dataclass(frozen=True)
class Training:
    """One network that is trained: on which images, from which seed, without which fold.

    Args:
        removal: what its images lack.
        seed: one of the config's.
        fold: the images that it is tested on.
    """

    removal: Removal
    seed: int
    fold: int

    @property
    def name(self) -> str:
        """Method, removal, seed and fold in one."""
        return f"{self.removal.method} / {self._images()} / seed {self.seed}, fold {self.fold}"

    def file(self, root: Path) -> Path:
        """Return where its result lies."""
        parts = [self.removal.method, self._images().replace(" ", "-")]
        return root / "units" / f"{'_'.join(parts)}_seed-{self.seed}_fold-{self.fold}.json"

    def _images(self) -> str:
        if self.removal.method == REFERENCE:
            return "untouched" if self.removal == UNTOUCHED else "empty"
        return f"{self.removal.mode} {self.removal.fraction!r}"

    def describe(self) -> dict[str, Any]:
        """Return what it is, as plain values."""
        return {**vars(self.removal), "seed": self.seed, "fold": self.fold}
