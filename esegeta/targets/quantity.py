"""What a target measures: a quantity of one label at each voxel (`of`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from esegeta.axes import Field, Logits
from esegeta.model import Labels


@dataclass(frozen=True)
class Quantity:
    """One number a voxel, for one label.

    Args:
        name: as the config's `of` names it.
        field: from logits `B L *S`, labels and output channel to `B *S`.
        unit: what one voxel is measured in.
        is_linear: linear in the logits, so that its sum splits exactly into windows.
        meaning: one line for people; says what the sign means.
    """

    name: str
    field: Callable[[Logits, Labels, int], Field]
    unit: str
    is_linear: bool
    meaning: str


def logit(logits: Logits, labels: Labels, channel: int) -> Field:
    """Return the label's blended logit, `y_k`."""
    return logits[:, channel]


def probability(logits: Logits, labels: Labels, channel: int) -> Field:
    """Return the label's probability in 0..1, softmax or sigmoid of the blended logits."""
    return labels.probability(logits)[:, channel]


def log_probability(logits: Logits, labels: Labels, channel: int) -> Field:
    """Return the natural logarithm of the label's probability, at most 0."""
    if labels.activation == "softmax":
        return logits.log_softmax(dim=1)[:, channel]
    return torch.nn.functional.logsigmoid(logits[:, channel])


def margin(logits: Logits, labels: Labels, channel: int) -> Field:
    """Return `y_k - max_{j != k} y_j` (softmax) or `y_k` (sigmoid): above 0 where predicted."""
    if labels.activation == "sigmoid":
        return logits[:, channel]
    others = [other for other in range(logits.shape[1]) if other != channel]
    return logits[:, channel] - logits[:, others].amax(dim=1)


def entropy(logits: Logits, labels: Labels, channel: int) -> Field:
    """Return the voxel's predictive entropy in nats.

    Softmax: `-sum_k p_k log p_k` over all channels; sigmoid: the binary entropy of the label.
    """
    if labels.activation == "softmax":
        return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
    log_sigmoid = torch.nn.functional.logsigmoid
    y = logits[:, channel]
    return -(y.sigmoid() * log_sigmoid(y) + (-y).sigmoid() * log_sigmoid(-y))


QUANTITIES: dict[str, Quantity] = {
    "logit": Quantity("logit", logit, "logit", True, "the score before softmax or sigmoid"),
    "probability": Quantity("probability", probability, "probability", False, "0..1"),
    "log_probability": Quantity(
        "log_probability", log_probability, "nat", False, "log of the probability, at most 0"
    ),
    "margin": Quantity(
        "margin", margin, "logit", False, "lead over the best other label; above 0 where predicted"
    ),
    "entropy": Quantity("entropy", entropy, "nat", False, "uncertainty; 0 where certain"),
}
"""Quantities with one value a voxel; `dice` and `volume_ml` are of the whole map."""
