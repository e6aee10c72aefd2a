"""Slow rewrites of removal: every image made by hand, every prediction MONAI's of the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from esegeta.explain import Attribution, Features, Saliency
from esegeta.predict import Predictor
from esegeta.score import ScoreContext
from esegeta.targets import FrozenTarget
from tests.builders import SHAPES, predictor, unet, volume
from tests.oracles import frozen, monai_prediction

BLOCKS = Features("blocks", side_mm=4.0)


def scene_of_unet(
    ndim: int, *, activation: str = "softmax", num_channels: int = 1
) -> tuple[Predictor, Attribution]:
    """Return a U-Net over windows and the saliency of the logits of its label's voxels."""
    network = unet(ndim, in_channels=num_channels, out_channels=2)
    model = predictor(network, (8,) * ndim, activation=activation)
    image = volume(SHAPES[ndim], num_channels)
    return model, Saliency().explain(model, image, frozen(model, image))


def context(model: Predictor) -> ScoreContext:
    return ScoreContext(model, Saliency())


def value_of(model: Predictor, target: FrozenTarget, image: Tensor) -> float:
    """Return the target of an image `C *S`, of a prediction of all of it."""
    with torch.no_grad():
        return float(target.value(monai_prediction(model, image[None]))[0])


def part_order(map_: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return regions from the highest mean of the map (channels summed) to the lowest."""
    means = [map_.sum(axis=0)[labels == part].mean() for part in range(labels.max() + 1)]
    return sorted(range(len(means)), key=lambda part: -means[part])


def images_without(
    x: Tensor, baseline: Tensor, labels: Tensor, order: Sequence[int], steps: int
) -> tuple[list[Tensor], list[float]]:
    """Return the image after each step of removing regions in an order, and the shares removed."""
    images, shares = [], []
    for step in range(steps + 1):
        gone = torch.zeros(labels.shape, dtype=torch.bool)
        for part in order[: step * len(order) // steps]:
            gone |= labels == part
        images.append(torch.where(gone, baseline, x))
        shares.append(float(gone.double().mean()))
    return images, shares


def trapezoid(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the area under a curve, piece by piece."""
    pieces = zip(x, x[1:], y, y[1:], strict=False)
    return sum((b - a) * (p + q) / 2 for a, b, p, q in pieces)
