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

    and Student's t of Satterthwaite's degrees of freedom. Missing pairs are filled in without a
    rest, by least squares, and cost it their degrees of freedom. With one seed, or where seeds and
    folds cannot be told apart, the means of folds are taken for the values. Folds share training
    images, so that the interval says less about other patients than its width suggests.

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
    table = np.array(
        [[known.get((seed, fold), math.nan) for fold in sorted(folds)] for seed in sorted(seeds)]
    )
    filled = _filled(table) if len(seeds) > 1 else None
    if filled is None:
        variance, freedom = float(np.nanmean(table, axis=0).var(ddof=1)), len(folds) - 1.0
        variance /= len(folds)
    else:
        variance, freedom = _of_table(filled, int(np.isnan(table).sum()))
    reach = _student(freedom) * math.sqrt(variance) if variance > 0 else 0.0
    low, high = limits
    return Interval(len(known), mean, max(mean - reach, low), min(mean + reach, high))


def _filled(table: np.ndarray) -> np.ndarray | None:
    """Return a table, seeds x folds, whose gaps are an effect of the seed plus one of the fold.

    None where the gaps leave a seed or a fold that has none of its values in common with the rest.
    """
    gaps = np.isnan(table)
    seed, fold = np.indices(table.shape)
    seeds, folds = np.eye(table.shape[0]), np.eye(table.shape[1])
    effects = np.concatenate([seeds[seed], folds[fold]], axis=-1)
    found, _, rank, _ = np.linalg.lstsq(effects[~gaps], table[~gaps], rcond=None)
    return None if rank < sum(table.shape) - 1 else np.where(gaps, effects @ found, table)


def _of_table(table: np.ndarray, num_filled: int) -> tuple[float, float]:
    """Return the variance of the mean of a table, seeds x folds, and its degrees of freedom."""
    num_seeds, num_folds = table.shape
    by_seed, by_fold = table.mean(axis=1), table.mean(axis=0)
    rest = table - by_seed[:, None] - by_fold[None] + table.mean()
    # Where nothing is left to tell the rest by, it counts as effects of seeds and folds.
    of_rest = max((num_seeds - 1) * (num_folds - 1) - num_filled, 1)
    squares = (
        num_folds * float(by_seed.var(ddof=1)),
        num_seeds * float(by_fold.var(ddof=1)),
        float((rest**2).sum()) / of_rest,
    )
    seed, fold, noise = squares
    # Below the noise there is no effect of seeds and folds to be seen.
    total = max(seed + fold - noise, noise, max(seed, fold))
    freedoms = (num_seeds - 1, num_folds - 1, of_rest)
    parts = sum(square**2 / freedom for square, freedom in zip(squares, freedoms, strict=True))
    freedom = total**2 / parts if parts > 0 else 1.0
    least, most = min(freedoms[:2]), num_seeds * num_folds - num_filled - 1
    return total / (table.size - num_filled), min(max(freedom, least), most)


def _student(freedom: float) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
