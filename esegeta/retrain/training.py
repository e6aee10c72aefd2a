"""One unit of work: a network trained from scratch; what it is, and the small file that it leaves.

Everything random about a training is derived from its seed and fold alone. So networks of one
seed and fold start from the same weights and see the same patches, whatever their images lack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from esegeta.report import read_sidecar
from esegeta.retrain.removal import REFERENCE, UNTOUCHED, Removal
from esegeta.run.outcome import Status
from esegeta.volume import write_json


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


@dataclass(frozen=True)
class TrainingResult:
    """How one training ended.

    Args:
        training: which.
        status: done now, skipped because it was finished before, or failed.
        dice: of each label, and their mean; NaN where it is undefined.
        seconds: of training and testing, now.
        message: why it failed.
        warnings: what a reader must know.
        is_bug: failed with something that is not the user's to mend.
        traceback: of a bug.
    """

    training: Training
    status: Status
    dice: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    message: str = ""
    warnings: tuple[str, ...] = ()
    is_bug: bool = False
    traceback: str = ""

    @property
    def name(self) -> str:
        """Name of the training."""
        return self.training.name

    def describe(self) -> dict[str, Any]:
        """Return how it ended, as plain values."""
        return {
            **self.training.describe(),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "message": self.message,
            **({"traceback": self.traceback} if self.traceback else {}),
        }


def read_result(training: Training, root: Path, fingerprint: str) -> TrainingResult | None:
    """Return the result that an earlier run left, or None where none matches."""
    content = read_sidecar(training.file(root))
    if content is None or content.get("fingerprint") != fingerprint:
        return None
    found = content.get("dice")
    if not isinstance(found, dict):
        return None
    dice = {label: math.nan if value is None else value for label, value in found.items()}
    return TrainingResult(training, "skipped", dice)


def write_result(
    result: TrainingResult, root: Path, fingerprint: str, more: Mapping[str, Any]
) -> None:
    """Write the result of a training, whole or not at all."""
    write_json(
        result.training.file(root),
        {
            "fingerprint": fingerprint,
            **result.training.describe(),
            "dice": dict(result.dice),
            "seconds": round(result.seconds, 3),
            **more,
        },
    )


def discard_result(training: Training, root: Path) -> None:
    """Remove what an earlier run left: it would look like a result of this one."""
    training.file(root).unlink(missing_ok=True)
