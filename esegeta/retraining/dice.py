"""Dice of a retrained network on the images that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from esegeta.axes import Image
from esegeta.predict import Predictor
from esegeta.retraining.recipe import named_labels
from esegeta.retraining.samples import Sample
from esegeta.targets import dice_of

MEAN = "mean"
"""Stands for a label where the mean over all labels is meant."""


def sample_dice(
    predictor: Predictor, sample: Sample, image: Image, device: torch.device
) -> dict[str, float]:
    """Return the Dice of each label on one image, by the whole sliding-window prediction."""
    logits = predictor.predict(image[None].to(device))
    truth = sample.truth.to(device)
    labels = predictor.labels
    return {
        labels.names[integer]: dice_of(labels.predicted(logits, integer)[0], truth == integer)
        for integer in named_labels(labels)
    }


def fold_dice(by_sample: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean over images of each label's Dice, and the mean over labels of those means.

    What is undefined takes no part; where all is, so is the mean.
    """
    labels = list(by_sample[0])
    means = {label: mean_of([dice[label] for dice in by_sample]) for label in labels}
    return {**means, MEAN: mean_of(list(means.values()))}


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of those that are no NaN; NaN where all are."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
