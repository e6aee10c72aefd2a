"""How the training of one network ended, and the small file that it leaves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from esegeta.report import read_sidecar
from esegeta.retraining import REFERENCE, DiceRow, RemovalMode, Training
from esegeta.volume import write_json


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


def dice_rows(results: Iterable[TrainingResult], modes: Sequence[RemovalMode]) -> list[DiceRow]:
    """Return one row a network and label; references stand at the ends of every mode.

    `fraction` is what is removed in ROAR and what is kept in KAR: untouched images are at 0 of
    the one and at 1 of the other.
    """
    rows = []
    for result in results:
        training, removal = result.training, result.training.removal
        places: list[tuple[RemovalMode, float]] = [(removal.mode, removal.fraction)]
        if removal.method == REFERENCE:
            ends = {"roar": removal.fraction, "kar": 1 - removal.fraction}
            places = [(mode, ends[mode]) for mode in modes]
        rows += [
            DiceRow(mode, removal.method, fraction, training.seed, training.fold, label, dice)
            for mode, fraction in places
            for label, dice in result.dice.items()
        ]
    return rows
