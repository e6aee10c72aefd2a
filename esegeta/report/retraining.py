"""The tables of retraining: every network's Dice, and curves with confidence intervals."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from esegeta.volume import write_text

DICE, SUMMARY, FIGURE = "retrain.csv", "summary.csv", "retrain.png"


@dataclass(frozen=True)
class DiceRow:
    """One line of retrain.csv: the Dice of one label, by one network on its held-out fold.

    Args:
        mode: roar or kar.
        method: id of the method that ranked, or `reference`.
        fraction: of voxels removed (roar) or kept (kar).
        seed: of the training.
        fold: held out.
        label: its name, or `mean` over labels.
        dice: NaN where undefined.
    """

    mode: Literal["roar", "kar"]
    method: str
    fraction: float
    seed: int
    fold: int
    label: str
    dice: float


@dataclass(frozen=True)
class SummaryRow:
    """One line of summary.csv: a point of a curve; the gain is the whole curve's.

    Args:
        mode: roar or kar.
        method: id of the method that ranked, or `reference`.
        label: its name, or `mean` over labels.
        fraction: of voxels removed (roar) or kept (kar).
        n: networks.
        mean: of their Dice.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        gain_over_random: area between this curve and the random ranking's, positive where the
            method is better; NaN of the random ranking and of references.
        gain_low: lower end of its interval.
        gain_high: upper end.
    """

    mode: Literal["roar", "kar"]
    method: str
    label: str
    fraction: float
    n: int
    mean: float
    low: float
    high: float
    gain_over_random: float
    gain_low: float
    gain_high: float


def write_dice(root: Path, rows: Iterable[DiceRow]) -> None:
    """Write retrain.csv: tidy, one Dice a line."""
    _write(root / DICE, DiceRow, rows)


def write_summary(root: Path, rows: Iterable[SummaryRow]) -> None:
    """Write summary.csv: one point of a curve a line."""
    _write(root / SUMMARY, SummaryRow, rows)


def remove_retraining(root: Path) -> None:
    """Remove the figure of an earlier run, which this one is about to contradict."""
    (root / FIGURE).unlink(missing_ok=True)


def _write(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(item.name for item in fields(kind))
    for row in rows:
        writer.writerow(_text(value) for value in astuple(row))
    write_text(path, stream.getvalue())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value)
    return str(value)
