"""The tables of retraining: every network's Dice, and curves with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal

from esegeta.report.tidy import write_csv

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
class DicePoint:
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
    write_csv(root / DICE, _columns(DiceRow), (astuple(row) for row in rows))


def write_dice_points(root: Path, rows: Iterable[DicePoint]) -> None:
    """Write summary.csv: one point of a curve a line."""
    write_csv(root / SUMMARY, _columns(DicePoint), (astuple(row) for row in rows))


def remove_retraining(root: Path) -> None:
    """Remove the figure of an earlier run, which this one is about to contradict."""
    (root / FIGURE).unlink(missing_ok=True)


def _columns(kind: type[DiceRow] | type[DicePoint]) -> list[str]:
    return [item.name for item in fields(kind)]
