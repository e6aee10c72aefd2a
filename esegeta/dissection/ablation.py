"""Does a unit matter? What Dice loses when it is switched off, against other units of its layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """What switching units off does to the Dice of one label, as a mean over cases.

    Args:
        dice: Dice of the network as it is.
        change: Dice with the units off, less `dice`; negative: the label needs them.
        random_change: the same for random units of the layer, as a mean over draws.
        effect: the change less the random change.
        low: lower end of the 95 % interval of the effect.
        high: upper end.
        p: share of draws that lose at least as much, the units themselves counted among them.
        cases: number of cases that hold the label; the others are left out.
    """

    dice: float
    change: float
    random_change: float
    effect: float
    low: float
    high: float
    p: float
    cases: int


def random_sets(
    num_units: int, without: Sequence[int], draws: int, seed: int
) -> list[tuple[int, ...]]:
    """Return different sets of units of a layer, each as large as `without` and disjoint from it.

    All possible sets if there are at most `draws` of them; none if the layer has too few units.
    """
    others = [unit for unit in range(num_units) if unit not in without]
    size = len(without)
    if math.comb(len(others), size) <= draws:
        return list(itertools.combinations(others, size))
    generator = np.random.default_rng(seed)
    found: dict[tuple[int, ...], None] = {}
    while len(found) < draws:
        drawn = generator.choice(others, size, replace=False)
        found[tuple(sorted(int(unit) for unit in drawn))] = None
    return list(found)


def effect_of(
    whole: Float[np.ndarray, " N"],
    off: Float[np.ndarray, " N"],
    random_off: Float[np.ndarray, "D N"],
    *,
    seed: int,
) -> Effect:
    """Return the effect of switching units off, with its bootstrap interval.

        effect = mean_n [ (off_n - whole_n) - mean_d (random_dn - whole_n) ]

    Cases and draws are resampled together. With one case the interval covers the draws alone and
    says nothing of other cases. Cases without the label are left out.

    Args:
        whole: Dice of the label in each case with the network as it is; NaN without the label.
        off: the same with the units off.
        random_off: the same with random units off, by draw.
        seed: random seed of the resampling.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    known = np.isfinite(whole)
    count = int(known.sum())
    if not count or not len(random_off):
        change = float(np.mean((off - whole)[known])) if count else math.nan
        dice = float(np.mean(whole[known])) if count else math.nan
        return Effect(dice, change, math.nan, math.nan, math.nan, math.nan, math.nan, count)
    changes = (off - whole)[known]
    randoms = (random_off - whole)[:, known]
    generator = np.random.default_rng(seed)
    cases = generator.integers(changes.size, size=(RESAMPLES, changes.size))
    draws = generator.integers(len(randoms), size=(RESAMPLES, len(randoms)))
    drawn = randoms[draws[:, :, None], cases[:, None, :]].mean(axis=1)
    effects = (changes[cases] - drawn).mean(axis=1)
    low, high = np.quantile(effects, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    reached = int((randoms.mean(axis=1) <= changes.mean()).sum())
    return Effect(
        dice=float(whole[known].mean()),
        change=float(changes.mean()),
        random_change=float(randoms.mean()),
        effect=float(changes.mean() - randoms.mean()),
        low=float(low),
        high=float(high),
        p=(1 + reached) / (1 + len(randoms)),
        cases=count,
    )
