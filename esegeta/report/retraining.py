"""The tables of retraining: every network's Dice, and curves with confidence intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from esegeta.report.tidy import write_csv
from esegeta.retraining import DicePoint, DiceRow

DICE, SUMMARY, FIGURE = "retrain.csv", "summary.csv", "retrain.png"


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
