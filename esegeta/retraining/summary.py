"""Dice of retrained networks, and curves of it with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from esegeta.axes import Image
from esegeta.predict import Predictor
from esegeta.retraining.intervals import DICE_RANGE, GAIN_RANGE, SeedAndFold, crossed_interval
from esegeta.retraining.samples import REFERENCE, RemovalMode, Sample
from esegeta.targets import label_dice

MEAN = "mean"
"""Stands for a label where the mean over all labels is meant."""


def sample_dice(
    predictor: Predictor, sample: Sample, image: Image, device: torch.device
) -> dict[str, float]:
    """Return the Dice of each label on one image, by the whole sliding-window prediction."""
    logits = predictor.logits(image[None].to(device))
    inside = None if sample.inside is None else sample.inside.to(device)
    return label_dice(predictor.labels, logits, sample.truth.to(device), inside=inside)


def fold_dice(by_sample: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over images of each label's Dice, and the mean over labels of those means.

    Undefined values are left out; where all are undefined, so is the mean.
    """
    labels = list(by_sample[0])
    means = {label: mean_of([dice[label] for dice in by_sample]) for label in labels}
    return {**means, MEAN: mean_of(list(means.values()))}


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN where all are."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


SMALL_GAP = 0.1
"""Dice between untouched and empty images below which taking voxels out can show nothing."""


@dataclass(frozen=True)
class DiceRow:
    """One line of retrain.csv: the Dice of one label, by one network on its held-out fold.

    Args:
        mode: roar or kar.
        method: id of the method that ranked, or `reference`.
        fraction: share of voxels removed (roar) or kept (kar).
        seed: random seed of the training.
        fold: the fold held out.
        label: its name, or `mean` over labels.
        dice: the Dice; NaN where undefined.
    """

    mode: RemovalMode
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
        fraction: share of voxels removed (roar) or kept (kar).
        n: number of networks.
        mean: mean of their Dice.
        low: lower end of its 95 % confidence interval.
        high: upper end.
        gain_over_random: area between this curve and the random ranking's, positive where the
            method is better; NaN for the random ranking and for references.
        gain_low: lower end of the gain's interval.
        gain_high: upper end of that interval.
    """

    mode: RemovalMode
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


@dataclass(frozen=True, eq=False)
class DiceCurve:
    """The Dice of one label by fraction, for one mode and method.

    Args:
        mode: roar or kar.
        method: id of the method.
        label: name of the label.
        dice: Dice by pair and by fraction.
    """

    mode: RemovalMode
    method: str
    label: str
    dice: dict[SeedAndFold, dict[float, float]] = field(default_factory=dict)

    @property
    def fractions(self) -> list[float]:
        """Fractions for which there is any network."""
        return sorted({fraction for by_fraction in self.dice.values() for fraction in by_fraction})

    def at(self, fraction: float) -> dict[SeedAndFold, float]:
        """Return the Dice of all pairs at a fraction; NaN where there is none."""
        return {
            pair: by_fraction.get(fraction, math.nan) for pair, by_fraction in self.dice.items()
        }


def summarize_dice(rows: Sequence[DiceRow], random: str) -> list[DicePoint]:
    """Return mean and interval of every point of every curve, and each curve's gain over random's.

    Args:
        rows: the rows of all networks.
        random: id of the random ranking.
    """
    curves = _curves(rows)
    summary = []
    for curve in curves.values():
        rival = curves.get((curve.mode, random, curve.label))
        compared = rival is not None and curve.method not in (random, REFERENCE)
        gains = gains_over(curve, rival) if compared and rival is not None else {}
        gain = crossed_interval(gains, GAIN_RANGE)
        for fraction in curve.fractions:
            found = crossed_interval(curve.at(fraction), DICE_RANGE)
            names = (curve.mode, curve.method, curve.label, fraction)
            numbers = (found.n, found.mean, found.low, found.high)
            summary.append(DicePoint(*names, *numbers, gain.mean, gain.low, gain.high))
    return summary


def gains_over(curve: DiceCurve, random: DiceCurve) -> dict[SeedAndFold, float]:
    """Return the area between a curve and the random ranking's, for each pair with both complete.

        integral_0^1 sign * (D_method(f) - D_random(f)) df,   sign -1 in ROAR, +1 in KAR

    by trapezoids; at 0 and 1 both are the same network. Positive: the method finds what matters
    better than chance, in both modes. It is the mean difference of Dice over all fractions.
    """
    sign = -1.0 if curve.mode == "roar" else 1.0
    fractions = sorted({*curve.fractions, *random.fractions})
    found = {}
    for pair, own in curve.dice.items():
        other = random.dice.get(pair, {})
        gaps = [own.get(f, math.nan) - other.get(f, math.nan) for f in fractions]
        if not any(math.isnan(gap) for gap in gaps):
            area = np.trapezoid([0.0, *gaps, 0.0], [0.0, *fractions, 1.0])
            found[pair] = sign * float(area)
    return found


def verdict(rows: Sequence[DiceRow], label: str) -> list[str]:
    """Return warnings where networks learn too little from images for curves to mean anything."""
    references = [row for row in rows if row.method == REFERENCE and row.label == label]
    curve = next(iter(_curves(references).values()), None)  # the other mode's is the same
    if curve is None:
        return []
    untouched, empty = (0.0, 1.0) if curve.mode == "roar" else (1.0, 0.0)
    gap = mean_of(
        [dice.get(untouched, math.nan) - dice.get(empty, math.nan) for dice in curve.dice.values()]
    )
    if math.isnan(gap) or gap >= SMALL_GAP:
        return []
    return [
        f"{label}: trained on untouched images, the Dice is only {gap:.3f} above that on empty "
        "ones: the networks learn too little from the images for the curves to say anything; "
        "train longer, or with another recipe"
    ]


def _curves(rows: Iterable[DiceRow]) -> dict[tuple[RemovalMode, str, str], DiceCurve]:
    found: dict[tuple[RemovalMode, str, str], DiceCurve] = {}
    for row in rows:
        key = (row.mode, row.method, row.label)
        curve = found.setdefault(key, DiceCurve(*key))
        curve.dice.setdefault((row.seed, row.fold), {})[row.fraction] = row.dice
    return found
