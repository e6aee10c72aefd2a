"""The target with a layer's activations changed: everything behind the layer sees the change."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from esegeta.axes import Logits
from esegeta.explain.layer.cut import Change, Site, read
from esegeta.explain.objective import Objective
from esegeta.model import held_still
from esegeta.predict import Pieces, spot

Prepare = Callable[[Pieces], Change]
"""From windows to what shall be done to the layer's output for them."""


def value_changed(objective: Objective, site: Site, prepare: Prepare) -> float:
    """Return the target with the layer changed; only windows that it touches are run."""
    objective.tally.evaluations += 1
    if not objective.target.is_linear:
        return float(objective.target.value(predict_changed(objective, site, prepare))[0])
    predictor, windows = objective.predictor, objective.windows
    cotangent = objective.cotangent()
    shares = predictor.shares(windows, cotangent)
    value = 0.0
    with held_still(predictor.network):
        for pieces in predictor.pieces(objective.x, windows, objective.active(cotangent)):
            logits, _ = read(objective, site, pieces.crops, prepare(pieces))
            value += _inner(logits, shares.of(pieces, logits.device))
    return value * shares.scale


def predict_changed(objective: Objective, site: Site, prepare: Prepare) -> Logits:
    """Return the blended logits with the layer changed, `1 L *S`, where the target looks at them.

    Args:
        objective: what is explained.
        site: the layer.
        prepare: gives the change for each batch of windows; may run the network.
    """
    predictor, windows, x = objective.predictor, objective.windows, objective.x
    importance = windows.importance(x.device, x.dtype)
    total: Tensor | None = None
    with held_still(predictor.network):
        for pieces in predictor.pieces(x, windows, objective.target.touched(windows)):
            logits, _ = read(objective, site, pieces.crops, prepare(pieces))
            if total is None:
                total = x.new_zeros((1, logits.shape[1], *windows.padded_shape))
            for box, patch in zip(pieces.boxes, logits.to(x), strict=True):
                total[spot(0, box)].addcmul_(patch, importance)
    assert total is not None
    return windows.crop(total / windows.coverage(x.device, x.dtype))


def _inner(logits: Tensor, share: Tensor) -> float:
    return float((logits * share).flatten(1).sum(dim=1, dtype=torch.float64).sum())
