"""How a training ended, as the record and the tables have it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from esegeta.retraining import REFERENCE, DiceRow, RemovalMode, Training
from esegeta.workflow.task import Content, Ended


def described(ended: Ended) -> dict[str, Any]:
    """Return which training ended, and how, as plain values."""
    training: Training = ended.task.data["training"]
    return {
        **training.describe(),
        "status": ended.status,
        "seconds": round(ended.seconds, 3),
        "message": ended.message,
        **({"traceback": ended.traceback} if ended.traceback else {}),
    }


def recall_training(content: Content) -> Content:
    """Return the Dice that a record holds, of each label and their mean."""
    return {"dice": content["dice"]}


def dice_rows(results: Iterable[Ended], modes: Sequence[RemovalMode]) -> list[DiceRow]:
    """Return one row a network and label; references stand at the ends of every mode.

    `fraction` is what is removed in ROAR and what is kept in KAR: untouched images are at 0 of
    the one and at 1 of the other.
    """
    rows = []
    for ended in results:
        training: Training = ended.task.data["training"]
        removal = training.removal
        places: list[tuple[RemovalMode, float]] = [(removal.mode, removal.fraction)]
        if removal.method == REFERENCE:
            ends = {"roar": removal.fraction, "kar": 1 - removal.fraction}
            places = [(mode, ends[mode]) for mode in modes]
        rows += [
            DiceRow(mode, removal.method, fraction, training.seed, training.fold, label, dice)
            for mode, fraction in places
            for label, dice in _dice_of(ended.content).items()
        ]
    return rows


def _dice_of(content: Content) -> dict[str, float]:
    # JSON has no NaN.
    found: Mapping[str, float | None] = content.get("dice", {})
    return {label: math.nan if value is None else value for label, value in found.items()}
