"""Confidence intervals over seeds crossed with folds; their networks are not independent."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95

SeedAndFold = tuple[int, int]
"""A seed and a fold: networks of one pair start alike, and are compared with each other."""

DICE_RANGE, GAIN_RANGE = (0.0, 1.0), (-1.0, 1.0)
"""What a Dice, and a mean difference of two of them, can be."""


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Args:
        n: number of values.
        mean: mean of the values; NaN without any.
        low: lower end; NaN where there are fewer than two folds.
        high: upper end.
    """

    n: int
    mean: float
    low: float
    high: float


def crossed_interval(values: Mapping[SeedAndFold, float], limits: tuple[float, float]) -> Interval:
    """Return the mean and its 95 % confidence interval over seeds and folds; NaNs are left out.

    Value = mean + effect of the seed + effect of the fold + rest, all random. With S seeds and F
    folds, and mean squares M of seeds, of folds and of the rest,

        var(mean) = (M_seed + M_fold - M_rest) / (S F)

    and Student's t of Satterthwaite's degrees of freedom. Where pairs are missing, or with one
    seed, the means of folds are taken for the values. Folds share training images, so that the
    interval says less about other patients than its width suggests.

    Args:
        values: values by seed and fold.
        limits: limits that the interval is clipped to.

    Source: Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    known = {pair: value for pair, value in values.items() if not math.isnan(value)}
    mean = math.fsum(known.values()) / len(known) if known else math.nan
    seeds, folds = ({pair[axis] for pair in known} for axis in (0, 1))
    if len(folds) < 2:
        return Interval(len(known), mean, math.nan, math.nan)
    if len(seeds) > 1 and len(known) == len(seeds) * len(folds):
        table = np.array([[known[seed, fold] for fold in sorted(folds)] for seed in sorted(seeds)])
        variance, freedom = _of_table(table)
    else:
        means = [
            np.mean([value for pair, value in known.items() if pair[1] == fold]) for fold in folds
        ]
        variance, freedom = float(np.var(means, ddof=1)) / len(folds), len(folds) - 1.0
    reach = _student(freedom) * math.sqrt(variance) if variance > 0 else 0.0
    low, high = limits
    return Interval(len(known), mean, max(mean - reach, low), min(mean + reach, high))


def _of_table(table: np.ndarray) -> tuple[float, float]:
    """Return the variance of the mean of a table, seeds x folds, and its degrees of freedom."""
    num_seeds, num_folds = table.shape
    by_seed, by_fold = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_fold[None] + table.mean()
    squares = (
        num_folds * float(by_seed.var(ddof=1)),
        num_seeds * float(by_fold.var(ddof=1)),
        float((rest**2).sum()) / ((num_seeds - 1) * (num_folds - 1)),
    )
    seed, fold, noise = squares
    # Below the noise there is no effect of seeds and folds to be seen.
    total = max(seed + fold - noise, noise, max(seed, fold))
    freedoms = (num_seeds - 1, num_folds - 1, (num_seeds - 1) * (num_folds - 1))
    parts = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    freedom = total**2 / parts if parts > 0 else 1.0
    least, most = min(freedoms[:2]), num_seeds * num_folds - 1
    return total / table.size, min(max(freedom, least), most)


def _student(freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
